package kube

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/alecthomas/kong"
	"github.com/rs/zerolog"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/clientcmd/api"
	"k8s.io/klog/v2"
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
	config := defaults(t)
	config.Kubeconfig = kubeconfigOf(t, "mine")
	client, err := Connect(config, zerolog.Nop()) // no server is asked
	if err != nil {
		t.Fatal(err)
	}
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	if client.Namespace() != "mine" || client.Identity() != host || client.config.LeaseName != "sluice-scaler" {
		t.Errorf("namespace %s, identity %s, lease %s", client.Namespace(), client.Identity(), client.config.LeaseName)
	}
	config.Namespace, config.Identity = "theirs", "me"
	client, err = Connect(config, zerolog.Nop())
	if err != nil || client.Namespace() != "theirs" || client.Identity() != "me" {
		t.Errorf("what is set does not hold: %+v, %v", client, err)
	}
	config.Kubeconfig, config.Namespace = kubeconfigOf(t, ""), ""
	if client, err = Connect(config, zerolog.Nop()); err != nil || client.Namespace() != "default" {
		t.Errorf("without a namespace: %+v, %v", client, err)
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

func TestWrongConfigurationsAreNamed(t *testing.T) {
	for want, edit := range map[string]func(*Config){
		"--kubeconfig":                      func(c *Config) { c.Kubeconfig = "" },
		"read --kubeconfig /no/such/file: ": func(c *Config) { c.Kubeconfig = "/no/such/file" },
		`--inside-selector "a in b": it must be a label selector`:  func(c *Config) { c.InsideSelector = "a in b" },
		`--inside-selector "=": it must be a label selector`:       func(c *Config) { c.InsideSelector = "=" },
		`--lease-name "": it must be the name of a Lease`:          func(c *Config) { c.LeaseName = "" },
		"--lease-retry-period 1ms: it must be at least 100ms":      func(c *Config) { c.RetryPeriod = time.Millisecond },
		"--lease-renew-deadline 1s: it must be at least twice":     func(c *Config) { c.RenewDeadline = time.Second },
		"--lease-duration 4s: it must be at least a second longer": func(c *Config) { c.LeaseDuration = 4 * time.Second },
		"--lease-duration 2h0m0s: it must be at most an hour":      func(c *Config) { c.LeaseDuration = 2 * time.Hour },
	} {
		config := defaults(t)
		config.Kubeconfig = kubeconfigOf(t, "mine")
		edit(&config)
		if _, err := Connect(config, zerolog.Nop()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
	garbage := filepath.Join(t.TempDir(), "kubeconfig")
	if err := os.WriteFile(garbage, []byte("clusters: 7"), 0o600); err != nil {
		t.Fatal(err)
	}
	config := defaults(t)
	config.Kubeconfig = garbage
	if _, err := Connect(config, zerolog.Nop()); err == nil || !strings.Contains(err.Error(), garbage) {
		t.Errorf("a file that is no kubeconfig: %v", err)
	}
}

// client-go's lines go to our log, whatever they hold, and to nowhere else.
func TestClientGoLogsToUs(t *testing.T) {
	lines := &bytes.Buffer{}
	client := &Client{logger: zerolog.New(lines)}
	logger := klog.FromContext(client.withLog(context.Background())).WithName("x").WithValues("kind", "Pod", "odd")
	logger.Info("watching", "n", 1, "odd")
	logger.V(1).Info("too much")
	logger.Error(errors.New("refused"), "failed", "err", errors.New("again"))
	warnings{client.logger}.HandleWarningHeaderWithContext(context.Background(), 299, "a", "old\nAPI")
	want := `{"level":"debug","kind":"Pod","n":"1","message":"Kubernetes client: watching"}
{"level":"debug","kind":"Pod","error":"refused","err":"again","message":"Kubernetes client: failed"}
{"level":"debug","warning":"old API","message":"the Kubernetes API warns"}
`
	if lines.String() != want {
		t.Errorf("the log has\n%s", lines)
	}
	lines.Reset()
	quiet := &Client{logger: zerolog.New(lines).Level(zerolog.InfoLevel)}
	klog.FromContext(quiet.withLog(context.Background())).Info("watching", "n", 1)
	if lines.Len() > 0 {
		t.Errorf("the log has\n%s", lines)
	}
}

func TestOutageIsToldOnce(t *testing.T) {
	lines := &logs{}
	o := newOutage(zerolog.New(lines))
	refused := errors.New("connection refused")
	o.note("Pods", nil)
	for range 3 {
		o.note("Pods", refused)
		o.note("the lease", refused)
	}
	o.note("the lease", nil)
	if told := lines.with(`"level":"warn"`, "refused", `"for":"Pods"`); len(told) != 1 || len(lines.with("serves us again")) != 0 {
		t.Errorf("the log has %q", lines.with())
	}
	o.note("Pods", nil)
	if told := lines.with(`"level":"info"`, "serves us again"); len(told) != 1 || len(lines.with()) != 2 {
		t.Errorf("the log has %q", lines.with())
	}
	o.note("Pods", refused)
	o.forget("Pods", "Deployments")
	o.note("Pods", refused)
	if len(lines.with()) != 4 {
		t.Errorf("who has stopped trying is remembered: %q", lines.with())
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
	if client.leases.RESTClient().(*rest.RESTClient).GetRateLimiter() != nil {
		t.Error("a renewal of the lease may have to wait")
	}
}
