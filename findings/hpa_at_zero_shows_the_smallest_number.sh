#!/bin/sh
# Kubernetes 1.37.2, whose HPA scales to zero by default: for an Object metric with AverageValue the controller divides the
# metric by the replicas that there are, also by none, and converts the result to an integer. On amd64 that is the
# smallest one: with an empty queue (0/0 is NaN) and with a full one (21/0 is infinite) alike. It stands in
# `status.currentMetrics`, so `kubectl get hpa` shows `-9223372036854775808m/10 (avg)` for as long as the workload is at zero.
# Expected: no current value, or the metric's own, at zero.
# What follows: what waits is read from the metric, not from the HPA; alerts look at the metric.
# Takes five minutes where Go has compiled nothing of Kubernetes yet.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
cat > main.go <<'GO'
package main

import (
	"context"
	"fmt"
	"math"
	"os"
	"time"

	autoscaling "k8s.io/api/autoscaling/v2"
	"k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/kubernetes/pkg/controller/podautoscaler"
	"k8s.io/kubernetes/pkg/controller/podautoscaler/metrics"
)

// queue tells its own length, and nothing else.
type queue int64

func (q queue) GetObjectMetric(string, string, *autoscaling.CrossVersionObjectReference, labels.Selector) (int64, time.Time, error) {
	return int64(q) * 1000, time.Now(), nil
}
func (queue) GetResourceMetric(context.Context, v1.ResourceName, string, labels.Selector, string) (metrics.PodMetricsInfo, time.Time, error) {
	panic("not asked")
}
func (queue) GetRawMetric(string, string, labels.Selector, labels.Selector) (metrics.PodMetricsInfo, time.Time, error) {
	panic("not asked")
}
func (queue) GetExternalMetric(string, string, labels.Selector) ([]int64, time.Time, error) {
	panic("not asked")
}

func main() {
	changed := false
	for _, waiting := range []queue{0, 21} {
		calculator := podautoscaler.NewReplicaCalculator(waiting, nil, 0, 0)
		for _, there := range []int32{0, 2} {
			wanted, usage, _, err := calculator.GetObjectPerPodMetricReplicas(there, 10_000, "queue", podautoscaler.Tolerances{}, "", &autoscaling.CrossVersionObjectReference{}, labels.Everything())
			fmt.Printf("  %2d waiting, %d replicas: wants %d, shows %dm/10 (avg) %v\n", waiting, there, wanted, usage, err)
			changed = changed || (there == 0) != (usage == math.MinInt64)
		}
	}
	if changed {
		os.Exit(1)
	}
}
GO
modules="api apiextensions-apiserver apimachinery apiserver cli-runtime client-go cloud-provider cluster-bootstrap code-generator
component-base component-helpers controller-manager cri-api cri-client cri-streaming csi-translation-lib dynamic-resource-allocation
endpointslice externaljwt kms kube-aggregator kube-controller-manager kube-proxy kube-scheduler kubectl kubelet metrics mount-utils
pod-security-admission sample-apiserver streaming"
{
    printf 'module finding\n\ngo 1.26.0\n\nrequire k8s.io/kubernetes v1.37.2\n\nreplace (\n'
    for module in $modules; do printf '\tk8s.io/%s => k8s.io/%s v0.37.2\n' "$module" "$module"; done
    printf ')\n'
} > go.mod
go mod tidy 2> tidy.log || { cat tidy.log; exit 1; }
echo "k8s.io/kubernetes v1.37.2 on $(go env GOARCH)"
CGO_ENABLED=0 go run -trimpath .
