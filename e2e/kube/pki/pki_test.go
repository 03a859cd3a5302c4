package pki_test

import (
	"crypto/tls"
	"crypto/x509"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"k8s.io/client-go/tools/clientcmd"

	"github.com/sluicefaas/sluice/e2e/kube/pki"

	"k8s.io/client-go/rest"
)

// A server with an issued certificate knows the client of an issued kubeconfig by name and group, and the client knows the server,
// also when the authority has been opened anew between.
func TestBothSidesOfAConnectionKnowEachOther(t *testing.T) {
	dir := t.TempDir()
	first := open(t, dir)
	if err := first.Issue(pki.Identity{File: "server", CommonName: "server", Hosts: []string{"127.0.0.1", "kubernetes.default"}}); err != nil {
		t.Fatal(err)
	}
	server := serve(t, first)

	second := open(t, dir)
	path := filepath.Join(dir, "alice.kubeconfig")
	alice := pki.Identity{File: "alice", CommonName: "alice", Organizations: []string{"system:nodes"}}
	if err := second.WriteKubeconfig(path, server, alice); err != nil {
		t.Fatal(err)
	}
	if answer := ask(t, path); answer != "alice of system:nodes" {
		t.Errorf("the server takes the client for %q", answer)
	}
}

func open(t *testing.T, dir string) *pki.Authority {
	t.Helper()
	authority, err := pki.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	return authority
}

// serve answers each client with who it is, and takes none without a certificate.
func serve(t *testing.T, authority *pki.Authority) string {
	t.Helper()
	certificate, err := tls.LoadX509KeyPair(authority.CertFile("server"), authority.KeyFile("server"))
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(authority.CAFile())
	if err != nil {
		t.Fatal(err)
	}
	clients := x509.NewCertPool()
	clients.AppendCertsFromPEM(text)
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		subject := r.TLS.PeerCertificates[0].Subject
		_, _ = io.WriteString(w, subject.CommonName+" of "+strings.Join(subject.Organization, ","))
	}))
	server.TLS = &tls.Config{Certificates: []tls.Certificate{certificate}, ClientCAs: clients, ClientAuth: tls.RequireAndVerifyClientCert, MinVersion: tls.VersionTLS12}
	server.StartTLS()
	t.Cleanup(server.Close)
	return server.URL
}

func ask(t *testing.T, kubeconfig string) string {
	t.Helper()
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	client, err := rest.HTTPClientFor(config)
	if err != nil {
		t.Fatal(err)
	}
	defer client.CloseIdleConnections()
	response, err := client.Get(config.Host)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(answer)
}

func TestTheSigningKeyStays(t *testing.T) {
	dir := t.TempDir()
	path, err := open(t, dir).Key("service-account")
	if err != nil {
		t.Fatal(err)
	}
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := open(t, dir).Key("service-account"); err != nil {
		t.Fatal(err)
	}
	if after, _ := os.ReadFile(path); string(after) != string(before) {
		t.Error("the second Key made another one: every token of before is refused")
	}
}

func TestABrokenAuthorityIsNamed(t *testing.T) {
	dir := t.TempDir()
	path := open(t, dir).CAFile()
	if err := os.WriteFile(path, []byte("no PEM"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := pki.Open(dir); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("error %v, want one that names %s", err, path)
	}
}

// Keys are for their owner alone.
func TestModes(t *testing.T) {
	dir := t.TempDir()
	path := open(t, dir).CAKeyFile()
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, error %v, want 0600", info.Mode(), err)
	}
}
