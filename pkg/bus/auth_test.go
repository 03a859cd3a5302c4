package bus

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/sluicefaas/sluice/pkg/bus/bustest"
)

// write makes a file of the test's own.
func write(t testing.TB, name, content string) (file string) {
	t.Helper()
	file = filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

const password = "hunter2"

// A mistake is an error of Connect that names the flag and its value, and no secret.
func TestMistakesInAuthAreNamed(t *testing.T) {
	t.Parallel()
	missing := filepath.Join(t.TempDir(), "missing")
	text, empty := write(t, "text", "neither a key nor a certificate"), write(t, "empty", " \n")
	certificates := newAuthority(t)
	cert, key := certificates.issue(t, "client")
	_, otherKey := certificates.issue(t, "other")
	for name, c := range map[string]struct {
		url  string
		auth Auth
		want []string
	}{
		"user and credentials":    {auth: Auth{User: "u", Password: password, Credentials: "file"}, want: []string{`--nats-user "u"`, `--nats-credentials "file"`}},
		"credentials and nkey":    {auth: Auth{Credentials: "file", NKey: "seed"}, want: []string{`--nats-credentials "file"`, `--nats-nkey "seed"`}},
		"user and URL":            {url: "nats://u:" + password + "@host", auth: Auth{User: "u", Password: password}, want: []string{"the user in --nats", `--nats-user "u"`}},
		"user without password":   {auth: Auth{User: "u"}, want: []string{`--nats-user "u"`, "--nats-password-file"}},
		"password without user":   {auth: Auth{Password: password}, want: []string{"--nats-password", "--nats-user"}},
		"file without user":       {auth: Auth{PasswordFile: empty}, want: []string{"--nats-password-file " + quote(empty), "--nats-user"}},
		"two passwords":           {auth: Auth{User: "u", Password: password, PasswordFile: empty}, want: []string{"--nats-password-file " + quote(empty), "--nats-password"}},
		"no password file":        {auth: Auth{User: "u", PasswordFile: missing}, want: []string{"--nats-password-file " + quote(missing), "no such file"}},
		"empty password file":     {auth: Auth{User: "u", PasswordFile: empty}, want: []string{"--nats-password-file " + quote(empty), "empty"}},
		"no credentials":          {auth: Auth{Credentials: missing}, want: []string{"--nats-credentials " + quote(missing), "no such file"}},
		"bad credentials":         {auth: Auth{Credentials: text}, want: []string{"--nats-credentials " + quote(text)}},
		"no nkey":                 {auth: Auth{NKey: missing}, want: []string{"--nats-nkey " + quote(missing), "no such file"}},
		"bad nkey":                {auth: Auth{NKey: text}, want: []string{"--nats-nkey " + quote(text)}},
		"no CA":                   {auth: Auth{CA: missing}, want: []string{"--nats-ca " + quote(missing), "no such file"}},
		"bad CA":                  {auth: Auth{CA: text}, want: []string{"--nats-ca " + quote(text)}},
		"certificate without key": {auth: Auth{Cert: cert}, want: []string{"--nats-cert " + quote(cert), "--nats-key"}},
		"key without certificate": {auth: Auth{Key: key}, want: []string{"--nats-key " + quote(key), "--nats-cert"}},
		"no certificate":          {auth: Auth{Cert: missing, Key: key}, want: []string{"--nats-cert " + quote(missing), "no such file"}},
		"key of another":          {auth: Auth{Cert: cert, Key: otherKey}, want: []string{"--nats-key " + quote(otherKey), "does not match"}},
		"scheme":                  {url: "http://u:" + password + "@host", want: []string{`--nats "http://(hidden)@host"`, "tls://"}},
		"URL that is none":        {url: "nats://a,host:port", want: []string{`--nats "nats://a,host:port"`, "invalid port"}},
		"URL with a bad password": {url: "nats://a,nats://u:" + password + "%zz@host", want: []string{`--nats "nats://(hidden)@host"`, "%XX"}},
		"URL with a comma in it":  {url: "nats://u:" + password + ",x@host", want: []string{`--nats "nats://(hidden)@host"`, "%XX"}},
		"URL without a scheme":    {url: "u:" + password + "@host:port", want: []string{`--nats "nats://(hidden)@host:port"`, "%XX"}},
		"URL with a # in it":      {url: "nats://u:" + password + "#@host", want: []string{`--nats "nats://(hidden)@host"`, "%XX"}},
	} {
		config := testConfig("nats://127.0.0.1:1")
		config.Auth = c.auth
		if c.url != "" {
			config.URL = c.url
		}
		b, err := Connect(config)
		if err == nil {
			b.Close()
			t.Errorf("%s: no error", name)
			continue
		}
		for _, want := range c.want {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %q is missing in: %v", name, want, err)
			}
		}
		if strings.Contains(err.Error(), password) {
			t.Errorf("%s: the password is in: %v", name, err)
		}
	}
}

func quote(text string) string { return fmt.Sprintf("%q", text) }

// What is logged of a configuration or an error has no secret in it.
func TestSecretsAreHidden(t *testing.T) {
	t.Parallel()
	config := testConfig("nats://u:" + password + "@127.0.0.1:1,token" + password + "@127.0.0.1:2")
	config.Notify = func(event string, err error) {
		if strings.Contains(fmt.Sprint(event, err), password) {
			t.Errorf("the password is in: %s %v", event, err)
		}
	}
	b, err := Connect(config)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	if err := b.Connected(); err == nil || strings.Contains(err.Error(), password) || !strings.Contains(err.Error(), "127.0.0.1:2") {
		t.Errorf("the connection's state is: %v", err)
	}
	auth := Auth{User: "u", Password: password}
	asJSON, err := json.Marshal(auth)
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{fmt.Sprint(auth), fmt.Sprintf("%+v", auth), fmt.Sprintf("%#v", auth), fmt.Sprintf("%q", auth), string(asJSON)} {
		if strings.Contains(text, password) || !strings.Contains(text, hidden) {
			t.Errorf("%s", text)
		}
	}
}

// events are what a Bus has told.
type events chan string

func (e events) config(c *Config) {
	c.Notify = func(event string, err error) { e <- fmt.Sprint(event, ": ", err) }
}

// await reads on until one contains all the words.
func (e events) await(t *testing.T, words ...string) {
	t.Helper()
	for {
		said, all := next(t, e), true
		for _, word := range words {
			all = all && strings.Contains(said, word)
		}
		if all {
			return
		}
	}
}

// A password that is wrong is told, however the server was reached, and the connection comes as soon as it is right: the file is read
// anew each time.
func TestPasswordFileIsReadForEveryConnection(t *testing.T) {
	t.Parallel()
	user := &server.User{Username: "gateway", Password: "first"}
	s := bustest.Start(t, func(o *server.Options) { o.Users = []*server.User{user} })
	s.Stop()
	file, told := write(t, "password", "wrong\n"), make(events, 1000)
	b := connectOnly(t, s.URL(), told.config, func(c *Config) { c.Auth = Auth{User: "gateway", PasswordFile: file} })
	told.await(t, "cannot connect")
	s.Start()
	told.await(t, "cannot connect", "Authorization Violation")
	if err := b.Connected(); err == nil || !strings.Contains(err.Error(), "Authorization Violation") {
		t.Errorf("the connection's state is: %v", err)
	}
	replace(t, file, "first\n")
	awaitConnection(t, b)

	s.Stop()
	user.Password = "second"
	s.Start()
	told.await(t, "disconnected")
	replace(t, file, "second")
	awaitConnection(t, b)

	s.Stop()
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	s.Start()
	told.await(t, "cannot connect", "--nats-password-file "+quote(file))
	replace(t, file, "second")
	awaitConnection(t, b)
}

func replace(t testing.TB, file, content string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

// A user and its password may be in the address, as before.
func TestUserInURL(t *testing.T) {
	t.Parallel()
	s := bustest.Start(t, func(o *server.Options) { o.Username, o.Password = "u", password })
	awaitConnection(t, connectOnly(t, strings.Replace(s.URL(), "nats://", "nats://u:"+password+"@", 1)))
	told := make(events, 1000)
	connectOnly(t, strings.Replace(s.URL(), "nats://", "nats://u:wrong@", 1), told.config)
	told.await(t, "cannot connect", "Authorization Violation")
}
