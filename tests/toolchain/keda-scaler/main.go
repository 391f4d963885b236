// KEDA's own scaler for `metrics-api` and its own fallback, without the operator around them.
//
// Usage: keda-scaler KUBECONFIG. The first line of the input is the ScaledObject, with the token that its authentication
// gives; each further line has it ask once. Each answer is a line: what the scaler made of it, and what the HPA is told.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"sync"
	"time"

	kedav1alpha1 "github.com/kedacore/keda/v2/apis/keda/v1alpha1"
	"github.com/kedacore/keda/v2/pkg/fallback"
	"github.com/kedacore/keda/v2/pkg/scalers"
	"github.com/kedacore/keda/v2/pkg/scalers/scalersconfig"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/metrics/pkg/apis/external_metrics"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

type task struct {
	ScaledObject kedav1alpha1.ScaledObject `json:"scaledObject"`
	Token        string                    `json:"token"`
}

type seen struct {
	Value    string `json:"value"`
	Active   bool   `json:"active"`
	Error    string `json:"error"`
	Told     string `json:"told"`
	Fallback bool   `json:"fallback"`
	Frozen   string `json:"frozen"`
}

func main() {
	if err := run(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(kubeconfig string) error {
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 1<<20)
	lines.Scan()
	var given task
	if err := json.Unmarshal(lines.Bytes(), &given); err != nil {
		return err
	}
	object := &given.ScaledObject
	// The operator finds this out when it begins with an object.
	object.Status.ScaleTargetGVKR = &kedav1alpha1.GroupVersionKindResource{
		Group: "apps", Version: "v1", Kind: "Deployment", Resource: "deployments",
	}
	trigger := object.Spec.Triggers[0]
	scaler, err := scalers.NewMetricsAPIScaler(&scalersconfig.ScalerConfig{
		ScalableObjectName:      object.Name,
		ScalableObjectNamespace: object.Namespace,
		ScalableObjectType:      "ScaledObject",
		GlobalHTTPTimeout:       3 * time.Second,
		TriggerType:             trigger.Type,
		TriggerMetadata:         trigger.Metadata,
		AuthParams:              map[string]string{"token": given.Token},
		MetricType:              trigger.MetricType,
	}, nil)
	if err != nil {
		return err
	}
	reader, err := reader(kubeconfig)
	if err != nil {
		return err
	}
	ctx := context.Background()
	handler := fallback.ScaledObjectHandler{Ctx: ctx, KubeClient: reader, UpdateLock: &sync.RWMutex{}, ScaledObject: object}
	spec := scaler.GetMetricSpecForScaling(ctx)[0]
	name := spec.External.Metric.Name
	for lines.Scan() {
		values, active, err := scaler.GetMetricsAndActivity(ctx, name)
		one := seen{Value: first(values), Active: active, Error: text(err)}
		told, acted, frozen := fallback.GetMetricsWithFallback(handler, values, err, name, spec)
		one.Told, one.Fallback, one.Frozen = first(told), acted, text(frozen)
		if err := json.NewEncoder(os.Stdout).Encode(one); err != nil {
			return err
		}
	}
	return nil
}

// reader reads the workload that is scaled, as KEDA's fallback does.
func reader(kubeconfig string) (client.Client, error) {
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return nil, err
	}
	known := runtime.NewScheme()
	if err := scheme.AddToScheme(known); err != nil {
		return nil, err
	}
	if err := kedav1alpha1.AddToScheme(known); err != nil {
		return nil, err
	}
	return client.New(config, client.Options{Scheme: known})
}

func first(values []external_metrics.ExternalMetricValue) string {
	if len(values) == 0 {
		return ""
	}
	return values[0].Value.String()
}

func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
