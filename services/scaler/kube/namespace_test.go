package kube

import (
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"
	rbacv1 "k8s.io/api/rbac/v1"

	"github.com/sluicefaas/sluice/pkg/kube"
	"github.com/sluicefaas/sluice/pkg/kube/kubetest"
	"github.com/sluicefaas/sluice/services/scaler/scalertest"
)

const patience = kubetest.Patience

// verbs are all that the scaler does. Tests act as an account that may do this and no more.
var verbs = []rbacv1.PolicyRule{
	{APIGroups: []string{"apps"}, Resources: []string{"deployments", "statefulsets", "replicasets"}, Verbs: []string{"list", "watch"}},
	{APIGroups: []string{"apps"}, Resources: []string{"deployments/scale", "statefulsets/scale"}, Verbs: []string{"get", "update"}},
	{APIGroups: []string{""}, Resources: []string{"pods"}, Verbs: []string{"list", "watch", "patch"}},
	{APIGroups: []string{""}, Resources: []string{"services"}, Verbs: []string{"list", "watch"}},
	{APIGroups: []string{""}, Resources: []string{"events"}, Verbs: []string{"create"}},
	{APIGroups: []string{"coordination.k8s.io"}, Resources: []string{"leases"}, Verbs: []string{"create"}},
	{APIGroups: []string{"coordination.k8s.io"}, Resources: []string{"leases"}, ResourceNames: []string{"sluice-scaler"}, Verbs: []string{"get", "update"}},
}

// namespace is one of the control plane, for one test. Its pods run as long as the test does.
type namespace struct {
	*kubetest.Namespace
	kubelet *kubelet
}

// newNamespace is one of the control plane, whose kubelet is played.
func newNamespace(t testing.TB) *namespace {
	t.Helper()
	n := newNamespaceOf(t, &plane)
	n.kubelet = runKubelet(n)
	return n
}

func newNamespaceOf(t testing.TB, plane *kubetest.Plane) *namespace {
	t.Helper()
	return &namespace{Namespace: plane.NewNamespace(t, "scaler", verbs)}
}

// config is the standard one for an identity.
func (n *namespace) config(identity string) Config {
	return Config{Config: kube.Config{
		Kubeconfig: n.Kubeconfig, Identity: identity, LeaseName: "sluice-scaler",
		LeaseDuration: 6 * time.Second, RenewDeadline: 4 * time.Second, RetryPeriod: time.Second,
	}}
}

// connect makes a Client that acts as the account.
func (n *namespace) connect(config Config) *Client {
	n.T.Helper()
	client, err := Connect(config, zerolog.New(n.Logs).With().Timestamp().Str("client", config.Identity).Logger())
	if err != nil {
		n.T.Fatal(err)
	}
	n.T.Cleanup(plane.DropLater(client.DropConnections))
	return client
}

// cluster is the one of a new Client.
func (n *namespace) cluster() *Cluster {
	n.T.Helper()
	return n.connect(n.config("test")).NewCluster(prometheus.NewRegistry())
}

// watch runs the Watch of a new Cluster until stop is called or the test ends.
func (n *namespace) watch() (cluster *Cluster, recorder *scalertest.Recorder, stop func()) {
	n.T.Helper()
	cluster = n.cluster()
	recorder, stop = scalertest.Watch(n.T, cluster)
	return cluster, recorder, stop
}
