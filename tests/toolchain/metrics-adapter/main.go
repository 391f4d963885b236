// The test adapter of sigs.k8s.io/custom-metrics-apiserver, but for one thing: it takes the values to serve at the
// address that it is told, where the original listens on port 8080 of every address.
package main

import (
	"context"
	"net/http"
	"os"
	"time"

	"github.com/emicklei/go-restful/v3"
	"k8s.io/component-base/logs"
	"k8s.io/klog/v2"
	basecmd "sigs.k8s.io/custom-metrics-apiserver/pkg/cmd"
	"sigs.k8s.io/custom-metrics-apiserver/test-adapter/provider"
)

func main() {
	logs.InitLogs()
	defer logs.FlushLogs()
	adapter := &basecmd.AdapterBase{Name: "metrics-adapter"}
	address := adapter.Flags().String("write-address", "127.0.0.1:0", "where values are posted to")
	logs.AddFlags(adapter.Flags())
	if err := adapter.Flags().Parse(os.Args); err != nil {
		klog.Fatal(err)
	}
	client, err := adapter.DynamicClient()
	if err != nil {
		klog.Fatal(err)
	}
	mapper, err := adapter.RESTMapper()
	if err != nil {
		klog.Fatal(err)
	}
	values, writes := provider.NewFakeProvider(client, mapper)
	adapter.WithCustomMetrics(values)
	container := restful.NewContainer()
	container.Add(writes)
	go func() {
		server := &http.Server{Addr: *address, Handler: container, ReadHeaderTimeout: 3 * time.Second}
		klog.Fatal(server.ListenAndServe())
	}()
	if err := adapter.Run(context.Background()); err != nil {
		klog.Fatal(err)
	}
}
