package main

import (
	"encoding/json"
	"fmt"
	"math/big"
	"regexp"
	"strings"
)

const micro = 1_000_000

// maxMicro is just under a billion USDC: fifteen digits are what a JSON reader's double carries exactly.
const maxMicro = 1_000_000_000_000_000 - 1

// usdc is an amount in whole micro-USDC, never a float.
type usdc int64

var amountText = regexp.MustCompile(`^[0-9]{1,20}(\.[0-9]{1,20})?([eE][+-]?[0-9]{1,2})?$`)

// parseUSDC reads a decimal text or a JSON number; a seventh decimal, a sign or more than a billion is refused.
func parseUSDC(text string) (usdc, error) {
	if !amountText.MatchString(text) {
		return 0, fmt.Errorf("%.40q is not an amount of USDC such as 0.10", text)
	}
	rat, ok := new(big.Rat).SetString(text)
	if !ok {
		return 0, fmt.Errorf("%.40q is not an amount of USDC such as 0.10", text)
	}
	rat.Mul(rat, big.NewRat(micro, 1))
	if !rat.IsInt() {
		return 0, fmt.Errorf("%.40q USDC is finer than the six decimals USDC has", text)
	}
	if !rat.Num().IsInt64() || rat.Num().Int64() > maxMicro {
		return 0, fmt.Errorf("%.40q USDC is not between 0 and a billion", text)
	}
	return usdc(rat.Num().Int64()), nil
}

// String is the canonical decimal text with two to six decimals.
func (u usdc) String() string {
	digits := strings.TrimRight(fmt.Sprintf("%06d", int64(u)%micro), "0")
	for len(digits) < 2 {
		digits += "0"
	}
	return fmt.Sprintf("%d.%s", int64(u)/micro, digits)
}

// number is the JSON number; its text is exact.
func (u usdc) number() json.Number {
	text := strings.TrimRight(u.String(), "0")
	if strings.HasSuffix(text, ".") {
		text += "0"
	}
	return json.Number(text)
}

// price is exact, rounded half up to a micro-USDC; false above the most.
func price(s *settings, characters int) (usdc, bool) {
	rat := new(big.Rat).Mul(s.perCharacter, big.NewRat(int64(characters)*micro, 1))
	rat.Add(rat, big.NewRat(1, 2))
	whole := new(big.Int).Quo(rat.Num(), rat.Denom())
	if !whole.IsInt64() {
		return 0, false
	}
	found := max(usdc(whole.Int64()), s.least)
	return found, found <= s.most
}
