package kube

import (
	"flag"
	"os"
	"testing"
	"time"

	"github.com/rs/zerolog"
	rbacv1 "k8s.io/api/rbac/v1"

	"github.com/sluicefaas/sluice/pkg/kube/kubetest"
)

// plane is the control plane of these tests.
var plane kubetest.Plane

// Tests wait most of the time, so more of them run side by side than there are processors.
func TestMain(m *testing.M) {
	_ = flag.Set("test.parallel", "6") // a flag of the command line wins, since it is parsed later
	os.Exit(plane.Main(m))
}

// verbs are all that these tests do with the account.
var verbs = []rbacv1.PolicyRule{
	{APIGroups: []string{"coordination.k8s.io"}, Resources: []string{"leases"}, Verbs: []string{"create"}},
	{APIGroups: []string{"coordination.k8s.io"}, Resources: []string{"leases"}, ResourceNames: []string{"sluice-tester"}, Verbs: []string{"get", "update"}},
	{APIGroups: []string{""}, Resources: []string{"configmaps"}, Verbs: []string{"list", "watch"}},
	{APIGroups: []string{""}, Resources: []string{"events"}, Verbs: []string{"create"}},
}

// namespace is one of the control plane, for one test.
type namespace struct{ *kubetest.Namespace }

func newNamespace(t testing.TB) *namespace {
	t.Helper()
	return &namespace{plane.NewNamespace(t, "tester", verbs)}
}

// config is the standard one for an identity.
func (n *namespace) config(identity string) Config {
	return Config{
		Kubeconfig: n.Kubeconfig, Identity: identity, LeaseName: "sluice-tester",
		LeaseDuration: 6 * time.Second, RenewDeadline: 4 * time.Second, RetryPeriod: time.Second,
	}
}

// connect makes a Client that acts as the account.
func (n *namespace) connect(config Config) *Client {
	n.T.Helper()
	client, err := Connect(tester, config, zerolog.New(n.Logs).With().Timestamp().Str("client", config.Identity).Logger())
	if err != nil {
		n.T.Fatal(err)
	}
	n.T.Cleanup(plane.DropLater(client.DropConnections))
	return client
}
