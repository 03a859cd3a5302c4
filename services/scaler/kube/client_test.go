package kube

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/alecthomas/kong"
	"github.com/rs/zerolog"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/clientcmd/api"
)

// kubeconfigOf writes one for a server that does not exist.
func kubeconfigOf(t *testing.T, namespace string) string {
	t.Helper()
	file := api.NewConfig()
	file.Clusters["c"] = &api.Cluster{Server: "https://127.0.0.1:9"}
	file.AuthInfos["u"] = &api.AuthInfo{Token: "x"}
	file.Contexts["x"] = &api.Context{Cluster: "c", AuthInfo: "u", Namespace: namespace}
	file.CurrentContext = "x"
	path := filepath.Join(t.TempDir(), "kubeconfig")
	if err := clientcmd.WriteToFile(*file, path); err != nil {
		t.Fatal(err)
	}
	return path
}

// defaults are those that a person gets who sets nothing.
func defaults(t *testing.T) (config Config) {
	t.Helper()
	parser, err := kong.New(&config)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := parser.Parse(nil); err != nil {
		t.Fatal(err)
	}
	return config
}

func TestDefaults(t *testing.T) {
	if config := defaults(t); config.LeaseName != "sluice-scaler" || config.LeaseDuration != 6*time.Second || config.InsideSelector != "" {
		t.Errorf("the defaults are %+v", config)
	}
}

// Kubernetes takes an empty selector for everything: here it is nothing.
func TestNobodyIsOursWithoutSelector(t *testing.T) {
	p := ourPod("gateway", "gateway", "10.0.0.1")
	for text, want := range map[string]string{"": "", "  ": "", "app.kubernetes.io/part-of=sluice": "gateway", "app.kubernetes.io/part-of=other": ""} {
		config := defaults(t)
		config.Kubeconfig, config.InsideSelector = kubeconfigOf(t, "mine"), text
		client, err := Connect(config, zerolog.Nop())
		if err != nil {
			t.Fatal(err)
		}
		if got := serviceOf(p, client.own); got != want {
			t.Errorf("%q: it is %q, want %q", text, got, want)
		}
	}
}

func TestWrongSelectorIsNamed(t *testing.T) {
	for _, selector := range []string{"a in b", "="} {
		config := defaults(t)
		config.Kubeconfig, config.InsideSelector = kubeconfigOf(t, "mine"), selector
		want := fmt.Sprintf("--inside-selector %q: it must be a label selector", selector)
		if _, err := Connect(config, zerolog.Nop()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

// Requests of thousands of functions that wake at once are not held back by ourselves.
func TestOwnLimitIsFarAway(t *testing.T) {
	config := defaults(t)
	config.Kubeconfig = kubeconfigOf(t, "mine")
	client, err := Connect(config, zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	limiter := client.apps.RESTClient().(*rest.RESTClient).GetRateLimiter()
	for i := range 6000 {
		if !limiter.TryAccept() {
			t.Fatalf("request %d of 6000 has to wait", i+1)
		}
	}
}
