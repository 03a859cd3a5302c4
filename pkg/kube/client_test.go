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

	"github.com/sluicefaas/sluice/pkg/kube/kubetest"
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

// tester is a service that tests its Client.
var tester = Service{Name: "tester", Outage: "tests go on"}

// defaults are those that a person gets who sets nothing.
func defaults(t *testing.T) Config {
	t.Helper()
	var cli struct {
		Config `kong:"embed,set='service=tester',set='holds=tests'"`
	}
	parser, err := kong.New(&cli)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := parser.Parse(nil); err != nil {
		t.Fatal(err)
	}
	return cli.Config
}

func TestDefaults(t *testing.T) {
	config := defaults(t)
	config.Kubeconfig = kubeconfigOf(t, "mine")
	client, err := Connect(tester, config, zerolog.Nop()) // no server is asked
	if err != nil {
		t.Fatal(err)
	}
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	if client.Namespace() != "mine" || client.Identity() != host || client.config.LeaseName != "sluice-tester" {
		t.Errorf("namespace %s, identity %s, lease %s", client.Namespace(), client.Identity(), client.config.LeaseName)
	}
	config.Namespace, config.Identity = "theirs", "me"
	client, err = Connect(tester, config, zerolog.Nop())
	if err != nil || client.Namespace() != "theirs" || client.Identity() != "me" {
		t.Errorf("what is set does not hold: %+v, %v", client, err)
	}
	config.Kubeconfig, config.Namespace = kubeconfigOf(t, ""), ""
	if client, err = Connect(tester, config, zerolog.Nop()); err != nil || client.Namespace() != "default" {
		t.Errorf("without a namespace: %+v, %v", client, err)
	}
}

func TestWrongConfigurationsAreNamed(t *testing.T) {
	for want, edit := range map[string]func(*Config){
		"--kubeconfig":                                             func(c *Config) { c.Kubeconfig = "" },
		"read --kubeconfig /no/such/file: ":                        func(c *Config) { c.Kubeconfig = "/no/such/file" },
		`--lease-name "": it must be the name of a Lease`:          func(c *Config) { c.LeaseName = "" },
		"--lease-retry-period 1ms: it must be at least 100ms":      func(c *Config) { c.RetryPeriod = time.Millisecond },
		"--lease-renew-deadline 1s: it must be at least twice":     func(c *Config) { c.RenewDeadline = time.Second },
		"--lease-duration 4s: it must be at least a second longer": func(c *Config) { c.LeaseDuration = 4 * time.Second },
		"--lease-duration 2h0m0s: it must be at most an hour":      func(c *Config) { c.LeaseDuration = 2 * time.Hour },
	} {
		config := defaults(t)
		config.Kubeconfig = kubeconfigOf(t, "mine")
		edit(&config)
		if _, err := Connect(tester, config, zerolog.Nop()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
	garbage := filepath.Join(t.TempDir(), "kubeconfig")
	if err := os.WriteFile(garbage, []byte("clusters: 7"), 0o600); err != nil {
		t.Fatal(err)
	}
	config := defaults(t)
	config.Kubeconfig = garbage
	if _, err := Connect(tester, config, zerolog.Nop()); err == nil || !strings.Contains(err.Error(), garbage) {
		t.Errorf("a file that is no kubeconfig: %v", err)
	}
}

// client-go's lines go to our log, whatever they hold, and to nowhere else.
func TestClientGoLogsToUs(t *testing.T) {
	lines := &bytes.Buffer{}
	client := &Client{logger: zerolog.New(lines)}
	logger := klog.FromContext(client.WithLog(context.Background())).WithName("x").WithValues("kind", "Pod", "odd")
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
	klog.FromContext(quiet.WithLog(context.Background())).Info("watching", "n", 1)
	if lines.Len() > 0 {
		t.Errorf("the log has\n%s", lines)
	}
}

func TestOutageIsToldOnce(t *testing.T) {
	lines := &kubetest.Logs{}
	o := newOutage(tester, zerolog.New(lines))
	refused := errors.New("connection refused")
	o.note("Pods", nil)
	for range 3 {
		o.note("Pods", refused)
		o.note("the lease", refused)
	}
	o.note("the lease", nil)
	if told := lines.With(`"level":"warn"`, "refused", `"for":"Pods"`); len(told) != 1 || len(lines.With("serves us again")) != 0 {
		t.Errorf("the log has %q", lines.With())
	}
	o.note("Pods", nil)
	if told := lines.With(`"level":"info"`, "serves us again"); len(told) != 1 || len(lines.With()) != 2 {
		t.Errorf("the log has %q", lines.With())
	}
	o.note("Pods", refused)
	o.forget("Pods", "Deployments")
	o.note("Pods", refused)
	if len(lines.With()) != 4 {
		t.Errorf("who has stopped trying is remembered: %q", lines.With())
	}
}

// A renewal never waits behind other requests.
func TestLeaseHasNoLimit(t *testing.T) {
	config := defaults(t)
	config.Kubeconfig = kubeconfigOf(t, "mine")
	client, err := Connect(tester, config, zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	if client.leases.RESTClient().(*rest.RESTClient).GetRateLimiter() != nil {
		t.Error("a renewal of the lease may have to wait")
	}
	if limiter := client.core.RESTClient().(*rest.RESTClient).GetRateLimiter(); limiter.QPS() < 1000 {
		t.Errorf("%v requests a second", limiter.QPS())
	}
}
