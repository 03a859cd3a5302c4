package kubetest

import (
	"bytes"
	"context"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
)

// Namespace is one of a control plane, for one test, at whose end it is deleted.
type Namespace struct {
	T     testing.TB
	Name  string
	Plane *Plane
	Admin *kubernetes.Clientset
	// User is an account with the name of a service that may do what the rules say and no more; Kubeconfig is its access.
	User, Kubeconfig string
	// Logs gets what clients log; it is printed when the test fails.
	Logs *Logs
}

// NewNamespace makes one, with an account for the service.
func (p *Plane) NewNamespace(t testing.TB, service string, rules []rbacv1.PolicyRule) *Namespace {
	t.Helper()
	p.Start(t)
	n := &Namespace{T: t, Plane: p, Admin: p.Admin(t), Logs: &Logs{}}
	made, err := n.Admin.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "test-"}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	n.Name = made.Name
	n.User = service + "-" + n.Name
	n.Eventually("the controllers have made the namespace's account", func() bool {
		_, err := n.Admin.CoreV1().ServiceAccounts(n.Name).Get(t.Context(), "default", metav1.GetOptions{})
		return err == nil
	})
	n.Allow(service, rules)
	n.writeKubeconfig()
	t.Cleanup(n.remove)
	return n
}

func (n *Namespace) remove() {
	if n.T.Failed() {
		n.T.Logf("the log of the clients:\n%s", n.Logs.With())
	}
	ctx, cancel := context.WithTimeout(context.Background(), Patience)
	defer cancel()
	if err := n.Admin.CoreV1().Namespaces().Delete(ctx, n.Name, metav1.DeleteOptions{}); err != nil {
		n.T.Error(err)
	}
}

// Allow lets the account do what the rules say, by a role of that name.
func (n *Namespace) Allow(role string, rules []rbacv1.PolicyRule) {
	n.T.Helper()
	made := &rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Name: role}, Rules: rules}
	if _, err := n.Admin.RbacV1().Roles(n.Name).Create(n.T.Context(), made, metav1.CreateOptions{}); err != nil {
		n.T.Fatal(err)
	}
	binding := &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: role}, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: role},
		Subjects: []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: "User", Name: n.User}},
	}
	if _, err := n.Admin.RbacV1().RoleBindings(n.Name).Create(n.T.Context(), binding, metav1.CreateOptions{}); err != nil {
		n.T.Fatal(err)
	}
}

func (n *Namespace) writeKubeconfig() {
	n.T.Helper()
	file, err := clientcmd.LoadFromFile(n.Plane.Kubeconfig())
	if err != nil {
		n.T.Fatal(err)
	}
	for _, auth := range file.AuthInfos {
		auth.Impersonate = n.User
	}
	for _, context := range file.Contexts {
		context.Namespace = n.Name
	}
	n.Kubeconfig = filepath.Join(n.T.TempDir(), "kubeconfig")
	if err := clientcmd.WriteToFile(*file, n.Kubeconfig); err != nil {
		n.T.Fatal(err)
	}
}

// Eventually waits for a condition.
func (n *Namespace) Eventually(what string, condition func() bool) {
	n.T.Helper()
	for deadline := time.Now().Add(Patience); !condition(); <-time.After(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			n.T.Fatalf("it did not happen that %s", what)
		}
	}
}

// Logs keeps lines.
type Logs struct {
	mu    sync.Mutex
	lines bytes.Buffer // guarded by mu
}

// Write implements io.Writer.
func (l *Logs) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.lines.Write(p)
}

// With returns the lines that have all the words.
func (l *Logs) With(words ...string) (found []string) {
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
