package kube

import (
	"bytes"
	"context"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/sluicefaas/sluice/services/scaler/scalertest"
)

// patience bounds each wait of a test: the machine may be busy, and the controllers of Kubernetes rest for up to a minute after the
// API server was away.
const patience = 2 * time.Minute

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
	t     testing.TB
	name  string
	plane *controlPlane
	admin *kubernetes.Clientset
	// kubeconfig is that of an account that may do what verbs has.
	kubeconfig string
	kubelet    *kubelet
	logs       *logs
}

// newNamespace is one of the control plane, whose kubelet is played.
func newNamespace(t testing.TB) *namespace {
	t.Helper()
	n := newNamespaceOf(t, startedPlane(t))
	n.kubelet = runKubelet(n)
	return n
}

func newNamespaceOf(t testing.TB, plane *controlPlane) *namespace {
	t.Helper()
	admin, release, err := plane.admin()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(release)
	n := &namespace{t: t, plane: plane, admin: admin, logs: &logs{}}
	made, err := admin.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "test-"}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	n.name = made.Name
	n.eventually("the controllers have made the namespace's account", func() bool {
		_, err := admin.CoreV1().ServiceAccounts(n.name).Get(t.Context(), "default", metav1.GetOptions{})
		return err == nil
	})
	n.allow()
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the log of the clients:\n%s", n.logs.with())
		}
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := admin.CoreV1().Namespaces().Delete(ctx, n.name, metav1.DeleteOptions{}); err != nil {
			t.Error(err)
		}
	})
	return n
}

// allow makes the account.
func (n *namespace) allow() {
	n.t.Helper()
	const name = "scaler"
	user := name + "-" + n.name
	role := &rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Name: name}, Rules: verbs}
	if _, err := n.admin.RbacV1().Roles(n.name).Create(n.t.Context(), role, metav1.CreateOptions{}); err != nil {
		n.t.Fatal(err)
	}
	binding := &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: name}, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: name},
		Subjects: []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: "User", Name: user}},
	}
	if _, err := n.admin.RbacV1().RoleBindings(n.name).Create(n.t.Context(), binding, metav1.CreateOptions{}); err != nil {
		n.t.Fatal(err)
	}
	file, err := clientcmd.LoadFromFile(n.plane.kubeconfig())
	if err != nil {
		n.t.Fatal(err)
	}
	for _, auth := range file.AuthInfos {
		auth.Impersonate = user
	}
	for _, context := range file.Contexts {
		context.Namespace = n.name
	}
	n.kubeconfig = filepath.Join(n.t.TempDir(), "kubeconfig")
	if err := clientcmd.WriteToFile(*file, n.kubeconfig); err != nil {
		n.t.Fatal(err)
	}
}

// config is the standard one for an identity.
func (n *namespace) config(identity string) Config {
	return Config{
		Kubeconfig: n.kubeconfig, Identity: identity, LeaseName: "sluice-scaler",
		LeaseDuration: 6 * time.Second, RenewDeadline: 4 * time.Second, RetryPeriod: time.Second,
	}
}

// connect makes a Client that acts as the account.
func (n *namespace) connect(config Config) *Client {
	n.t.Helper()
	client, err := Connect(config, zerolog.New(n.logs).With().Timestamp().Str("client", config.Identity).Logger())
	if err != nil {
		n.t.Fatal(err)
	}
	n.t.Cleanup(droppedLater(client.dropConnections))
	return client
}

// cluster is the one of a new Client.
func (n *namespace) cluster() *Cluster {
	n.t.Helper()
	return n.connect(n.config("test")).NewCluster(prometheus.NewRegistry())
}

// watch runs the Watch of a new Cluster until stop is called or the test ends.
func (n *namespace) watch() (cluster *Cluster, recorder *scalertest.Recorder, stop func()) {
	n.t.Helper()
	cluster = n.cluster()
	recorder, stop = scalertest.Watch(n.t, cluster)
	return cluster, recorder, stop
}

// eventually waits for a condition.
func (n *namespace) eventually(what string, condition func() bool) {
	n.t.Helper()
	for deadline := time.Now().Add(patience); !condition(); <-time.After(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			n.t.Fatalf("it did not happen that %s", what)
		}
	}
}

// logs keeps lines.
type logs struct {
	mu    sync.Mutex
	lines bytes.Buffer // guarded by mu
}

func (l *logs) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.lines.Write(p)
}

// with returns the lines that have all the words.
func (l *logs) with(words ...string) (found []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
lines:
	for line := range strings.Lines(l.lines.String()) {
		for _, word := range words {
			if !strings.Contains(line, word) {
				continue lines
			}
		}
		found = append(found, line)
	}
	return found
}
