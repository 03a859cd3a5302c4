package kube

import (
	"context"
	"io"
	"net"
	"regexp"
	"strconv"
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

	"github.com/sluicefaas/sluice/pkg/bus/bustest"
)

var natsUsers = []string{"gateway", "dispatcher", "scaler", "jobrunner", "client", "route"}

// allowSecret lets the account make Secrets, and read and update the one of that name, as the chart's hook may.
func (n *namespace) allowSecret(name string) {
	n.T.Helper()
	rules := []rbacv1.PolicyRule{
		{APIGroups: []string{""}, Resources: []string{"secrets"}, Verbs: []string{"create"}},
		{APIGroups: []string{""}, Resources: []string{"secrets"}, ResourceNames: []string{name}, Verbs: []string{"get", "update"}},
	}
	n.Allow("credentials", rules)
	n.Eventually("the account may make Secrets", func() bool {
		review, err := n.Admin.AuthorizationV1().SubjectAccessReviews().Create(n.T.Context(), &authorizationv1.SubjectAccessReview{
			Spec: authorizationv1.SubjectAccessReviewSpec{User: n.User, ResourceAttributes: &authorizationv1.ResourceAttributes{
				Namespace: n.Name, Verb: "create", Resource: "secrets",
			}},
		}, metav1.CreateOptions{})
		return err == nil && review.Status.Allowed
	})
}

func (n *namespace) secret(name string) *corev1.Secret {
	n.T.Helper()
	secret, err := n.Admin.CoreV1().Secrets(n.Name).Get(n.T.Context(), name, metav1.GetOptions{})
	if err != nil {
		n.T.Fatal(err)
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
	if made := n.Logs.With("made the Secret"); len(made) != 1 {
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
	if lines := n.Logs.With(string(secret.Data["gateway"])); len(lines) > 0 {
		t.Errorf("a password is in the log: %s", lines)
	}
}

// A Secret of an earlier version, or of somebody else, gets what it lacks, once, however many add to it at a time. What is in it stays.
func TestCredentialsAreAdded(t *testing.T) {
	t.Parallel()
	n := newNamespace(t)
	n.allowSecret("old")
	old := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: "old", Labels: map[string]string{"whose": "mine"}},
		StringData: map[string]string{"gateway": "a", "scaler": "b", "dispatcher": "c", "client": "d", "another": "e"},
	}
	before, err := n.Admin.CoreV1().Secrets(n.Name).Create(t.Context(), old, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	config := CredentialsConfig{Secret: "old", Users: natsUsers, Labels: map[string]string{"app": "sluice"}}
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
	after := n.secret("old")
	for key, value := range before.Data {
		if string(after.Data[key]) != string(value) {
			t.Errorf("%s was %q and is %q", key, value, after.Data[key])
		}
	}
	if len(after.Data) != len(before.Data)+2 || len(after.Data["jobrunner"]) != passwordLength || len(after.Data["route"]) != passwordLength || after.Labels["whose"] != "mine" {
		t.Errorf("labels %v, %d keys, the new ones are %q and %q", after.Labels, len(after.Data), after.Data["jobrunner"], after.Data["route"])
	}
	if added := n.Logs.With("added passwords to the Secret"); len(added) != 1 {
		t.Errorf("it was added to %d times", len(added))
	}
}

// A password that somebody has emptied is not made up for: the error names it.
func TestCredentialsThatAreEmpty(t *testing.T) {
	t.Parallel()
	n := newNamespace(t)
	n.allowSecret("mine")
	mine := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "mine"}, Data: map[string][]byte{}}
	for _, user := range natsUsers {
		mine.Data[user] = []byte("x")
	}
	mine.Data["client"], mine.Data["scaler"] = nil, nil
	before, err := n.Admin.CoreV1().Secrets(n.Name).Create(t.Context(), mine, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	err = n.connect(n.config("credentials")).EnsureCredentials(t.Context(), CredentialsConfig{Secret: "mine", Users: natsUsers})
	for _, want := range []string{"mine", n.Name, "an empty password for scaler, client"} {
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
	if err == nil || !strings.Contains(err.Error(), "forbidden") || time.Since(begun) > credentialsPatience/3 {
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
	file, err := clientcmd.LoadFromFile(n.Kubeconfig)
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
	client, err := Connect(config, zerolog.New(n.Logs))
	if err != nil {
		t.Fatal(err)
	}
	defer client.DropConnections()
	short, cancel := context.WithTimeout(t.Context(), 4500*time.Millisecond) // between two attempts
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
	return &gate{t: t, address: net.JoinHostPort("127.0.0.1", strconv.Itoa(bustest.FreePort(t)))}
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
