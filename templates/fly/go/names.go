package main

import (
	_ "embed"
	"encoding/json"
)

// contract.json holds the names that both languages agree on; it is written with the artifacts, from the same source
// as the Python agent reads.
//
//go:embed contract.json
var contractJSON []byte

// schema.sql is the ledger's, the same file that the Python agent reads.
//
//go:embed schema.sql
var schema string

// contract is what of contract.json is used here.
var contract = read()

type document struct {
	Env                 map[string]string `json:"Env"`
	FlyEnv              map[string]string `json:"FlyEnv"`
	AgentMetric         map[string]string `json:"AgentMetric"`
	ExitCode            map[string]int    `json:"ExitCode"`
	Port                map[string]int    `json:"Port"`
	MountPath           map[string]string `json:"MountPath"`
	Version             string            `json:"version"`
	FeeRate             string            `json:"feeRate"`
	ReferralRate        string            `json:"referralRate"`
	LedgerApplicationID int64             `json:"ledgerApplicationId"`
	LedgerVersion       int64             `json:"ledgerVersion"`
	LedgerFile          string            `json:"ledgerFile"`
	LedgerRestored      string            `json:"ledgerRestored"`
}

func read() document {
	var found document
	if err := json.Unmarshal(contractJSON, &found); err != nil {
		panic("contract.json: " + err.Error())
	}
	return found
}

// name is an environment variable's, by its name in the contract.
func name(member string) string {
	for _, names := range []map[string]string{contract.FlyEnv, contract.Env} {
		if found, ok := names[member]; ok {
			return found
		}
	}
	panic("contract.json names no variable " + member)
}
