// Command rules answers, line by line, what the programs that read our values make of them: the libraries that the API
// server, the kubelet and the Pulumi engine judge by. A question is {"rule": "...", "value": "..."}; an answer is
// {"error": "..."} or {"result": ...}.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"time"
	_ "time/tzdata" // what kube-apiserver carries with it

	"github.com/distribution/reference"
	"github.com/pulumi/pulumi/sdk/v3/go/common/encoding"
	"github.com/pulumi/pulumi/sdk/v3/go/common/resource/config"
	"github.com/pulumi/pulumi/sdk/v3/go/common/workspace"
	"github.com/robfig/cron/v3"
	"k8s.io/apimachinery/pkg/api/resource"
)

type question struct{ Rule, Value string }

type answer struct {
	Error  string `json:"error,omitempty"`
	Result any    `json:"result"`
}

func main() {
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 1<<24)
	out := json.NewEncoder(os.Stdout)
	for lines.Scan() {
		var asked question
		if err := json.Unmarshal(lines.Bytes(), &asked); err != nil {
			panic(err)
		}
		_ = out.Encode(judge(asked))
	}
}

func judge(asked question) (told answer) {
	defer func() {
		if trouble := recover(); trouble != nil {
			told = answer{Error: fmt.Sprint(trouble)}
		}
	}()
	result, err := rules[asked.Rule](asked.Value)
	if err != nil {
		return answer{Error: err.Error()}
	}
	return answer{Result: result}
}

var rules = map[string]func(string) (any, error){
	"schedule": runs, "image": image, "quantity": quantity, "stack": stack, "zone": zone,
}

// runs counts the runs in 2026, at most ten thousand of them.
func runs(text string) (any, error) {
	schedule, err := cron.ParseStandard(text)
	if err != nil {
		return nil, err
	}
	count, end := 0, time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC)
	at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC).Add(-time.Second)
	for at = schedule.Next(at); !at.IsZero() && at.Before(end) && count < 10_000; at = schedule.Next(at) {
		count++
	}
	return count, nil
}

func image(text string) (any, error) {
	named, err := reference.ParseNormalizedNamed(text)
	if err != nil {
		return nil, err
	}
	tag, digest := "", ""
	if tagged, ok := named.(reference.Tagged); ok {
		tag = tagged.Tag()
	}
	if digested, ok := named.(reference.Digested); ok {
		digest = digested.Digest().String()
	}
	return []string{tag, digest}, nil
}

func quantity(text string) (any, error) {
	found, err := resource.ParseQuantity(text)
	if err != nil {
		return nil, err
	}
	return found.AsDec().String(), nil
}

// stack reads a stack file; each value as a program gets it.
func stack(text string) (any, error) {
	project := &workspace.Project{Name: "purpleflea"}
	read, err := workspace.LoadProjectStackBytes(nil, project, []byte(text), "Pulumi.x.yaml", encoding.YAML)
	if err != nil {
		return nil, err
	}
	found := map[string]string{}
	for key, value := range read.Config {
		text, err := value.Value(config.NopDecrypter)
		if err != nil {
			return nil, err
		}
		found[key.String()] = text
	}
	return found, nil
}

func zone(text string) (any, error) {
	_, err := time.LoadLocation(text)
	return nil, err
}
