package kube

import (
	"context"
	"io"
	"net"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/clientcmd"
)

var natsUsers = []string{"gateway", "dispatcher", "scaler", "client", "route"}

// allowSecret lets the account make Secrets and read the one of that name, as the chart's hook may.
func (n *namespace) allowSecret(name string) {
	n.t.Helper()
	rules := []rbacv1.PolicyRule{
		{APIGroups: []string{""}, Resources: []string{"secrets"}, Verbs: []string{"create"}},
		{APIGroups: []string{""}, Resources: []string{"secrets"}, ResourceNames: []string{name}, Verbs: []string{"get"}},
	}
	role := &rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Name: "credentials"}, Rules: rules}
	if _, err := n.admin.RbacV1().Roles(n.name).Create(n.t.Context(), role, metav1.CreateOptions{}); err != nil {
		n.t.Fatal(err)
	}
	user := "scaler-" + n.name
	binding := &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "credentials"}, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: "credentials"},
		Subjects: []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: "User", Name: user}},
	}
	if _, err := n.admin.RbacV1().RoleBindings(n.name).Create(n.t.Context(), binding, metav1.CreateOptions{}); err != nil {
		n.t.Fatal(err)
	}
	n.eventually("the account may make Secrets", func() bool {
		review, err := n.admin.AuthorizationV1().SubjectAccessReviews().Create(n.t.Context(), &authorizationv1.SubjectAccessReview{
			Spec: authorizationv1.SubjectAccessReviewSpec{User: user, ResourceAttributes: &authorizationv1.ResourceAttributes{
				Namespace: n.name, Verb: "create", Resource: "secrets",
			}},
		}, metav1.CreateOptions{})
		return err == nil && review.Status.Allowed
	})
}

func (n *namespace) secret(name string) *corev1.Secret {
	n.t.Helper()
	secret, err := n.admin.CoreV1().Secrets(n.name).Get(n.t.Context(), name, metav1.GetOptions{})
	if err != nil {
		n.t.Fatal(err)
	}
	return secret
}

// Several at once make one Secret, and whoever comes later leaves it as it is.
func TestCredentialsAreMadeOnce(t *testing.T) {
	t.Parallel()
	n := newNamespace(t)
	n.allowSecret("passwords")
	config := CredentialsConfig{
		Secret: "passwords", Users: natsUsers,
		Labels: map[string]string{"app": "sluice"}, Annotations: map[string]string{"note": "a; b=c"},
	}
	var all sync.WaitGroup
	for range 6 {
		client := n.connect(n.config("credentials"))
		all.Go(func() {
			if err := client.EnsureCredentials(t.Context(), config); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if made := n.logs.with("made the Secret"); len(made) != 1 {
		t.Errorf("it was made %d times", len(made))
	}
	secret := n.secret("passwords")
	seen := map[string]bool{}
	for _, user := range natsUsers {
		password := string(secret.Data[user])
		if !regexp.MustCompile(`^[A-Za-z][A-Za-z0-9]{31,}$`).MatchString(password) || seen[password] {
			t.Errorf("password of %s: %q", user, password)
		}
		seen[password] = true
	}
	if len(secret.Data) != len(natsUsers) || secret.Labels["app"] != "sluice" || secret.Annotations["note"] != "a; b=c" || secret.Type != corev1.SecretTypeOpaque {
		t.Errorf("the Secret has %d keys, labels %v, annotations %v, type %s", len(secret.Data), secret.Labels, secret.Annotations, secret.Type)
	}
	config.Labels = map[string]string{"app": "other"}
	if err := n.connect(n.config("credentials")).EnsureCredentials(t.Context(), config); err != nil {
		t.Error(err)
	}
	if again := n.secret("passwords"); again.ResourceVersion != secret.ResourceVersion {
		t.Errorf("it was changed: %v", again)
	}
	if lines := n.logs.with(string(secret.Data["gateway"])); len(lines) > 0 {
		t.Errorf("a password is in the log: %s", lines)
	}
}

// A Secret that somebody else has made is never changed; what it lacks is named.
func TestCredentialsThatLackUsers(t *testing.T) {
	t.Parallel()
	n := newNamespace(t)
	n.allowSecret("mine")
	mine := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "mine"}, StringData: map[string]string{"gateway": "a", "scaler": "b", "client": ""}}
	before, err := n.admin.CoreV1().Secrets(n.name).Create(t.Context(), mine, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	err = n.connect(n.config("credentials")).EnsureCredentials(t.Context(), CredentialsConfig{Secret: "mine", Users: natsUsers})
	for _, want := range []string{"mine", n.name, "dispatcher, client, route"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q in it", err, want)
		}
	}
	if after := n.secret("mine"); after.ResourceVersion != before.ResourceVersion {
		t.Errorf("it was changed: %v", after)
	}
}

func TestCredentialsThatMayNotBeMade(t *testing.T) {
	t.Parallel()
	n := newNamespace(t)
	begun := time.Now()
	err := n.connect(n.config("credentials")).EnsureCredentials(t.Context(), CredentialsConfig{Secret: "s", Users: natsUsers})
	if err == nil || !strings.Contains(err.Error(), "forbidden") || time.Since(begun) > credentialsPatience/2 {
		t.Errorf("after %s: %v", time.Since(begun), err)
	}
	err = n.connect(n.config("credentials")).EnsureCredentials(t.Context(), CredentialsConfig{Secret: "s", Users: []string{"a", ""}})
	if err == nil || !strings.Contains(err.Error(), "--users") {
		t.Errorf("error %v", err)
	}
}

// The pod of the hook may be faster than its network: an API server that does not answer is asked again.
func TestCredentialsWaitForTheAPIServer(t *testing.T) {
	t.Parallel()
	n := newNamespace(t)
	n.allowSecret("late")
	file, err := clientcmd.LoadFromFile(n.kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	gate := newGate(t)
	for _, cluster := range file.Clusters {
		gate.target = strings.TrimPrefix(cluster.Server, "https://")
		cluster.Server = "https://" + gate.address
	}
	kubeconfig := t.TempDir() + "/kubeconfig"
	if err := clientcmd.WriteToFile(*file, kubeconfig); err != nil {
		t.Fatal(err)
	}
	config := n.config("credentials")
	config.Kubeconfig = kubeconfig
	client, err := Connect(config, zerolog.New(n.logs))
	if err != nil {
		t.Fatal(err)
	}
	defer client.dropConnections()
	short, cancel := context.WithTimeout(t.Context(), 1500*time.Millisecond)
	defer cancel()
	credentials := CredentialsConfig{Secret: "late", Users: natsUsers}
	if err := client.EnsureCredentials(short, credentials); err == nil || !strings.Contains(err.Error(), "refused") {
		t.Errorf("while the API server is away: %v", err)
	}
	result := make(chan error, 1)
	go func() { result <- client.EnsureCredentials(t.Context(), credentials) }()
	gate.open()
	if err := <-result; err != nil {
		t.Error(err)
	}
	n.secret("late")
}

// gate is an address at which the API server is away until it is opened.
type gate struct {
	t               *testing.T
	address, target string
}

func newGate(t *testing.T) *gate {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return &gate{t: t, address: listener.Addr().String()}
}

// open passes connections on to the target until the test ends.
func (g *gate) open() {
	listener, err := net.Listen("tcp", g.address)
	if err != nil {
		g.t.Error(err)
		return
	}
	var passing sync.WaitGroup
	passing.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			passing.Go(func() { g.pass(conn) })
		}
	})
	g.t.Cleanup(func() { listener.Close(); passing.Wait() })
}

// pass copies both ways until one side ends.
func (g *gate) pass(conn net.Conn) {
	defer conn.Close()
	target, err := net.Dial("tcp", g.target)
	if err != nil {
		return
	}
	defer target.Close()
	done := make(chan struct{}, 2)
	for _, way := range [][2]net.Conn{{conn, target}, {target, conn}} {
		go func() { _, _ = io.Copy(way[0], way[1]); done <- struct{}{} }()
	}
	<-done
}
