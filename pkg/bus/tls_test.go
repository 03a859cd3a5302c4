package bus

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nkeys"

	"github.com/sluicefaas/sluice/pkg/bus/bustest"
)

// authority signs certificates for one test.
type authority struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
	file        string
}

func newAuthority(t testing.TB) *authority {
	t.Helper()
	a := &authority{key: newKey(t)}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "authority"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}
	der := a.sign(t, template, template, a.key)
	var err error
	if a.certificate, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	a.file = write(t, "ca.pem", encodePEM("CERTIFICATE", der))
	return a
}

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func (a *authority) sign(t testing.TB, template, parent *x509.Certificate, key *ecdsa.PrivateKey) []byte {
	t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// issue returns the files of a certificate for 127.0.0.1 and of its key.
func (a *authority) issue(t testing.TB, name string) (cert, key string) {
	t.Helper()
	private := newKey(t)
	der := a.sign(t, &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}, a.certificate, private)
	keyDER, err := x509.MarshalECPrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return write(t, name+".crt", encodePEM("CERTIFICATE", der)), write(t, name+".key", encodePEM("EC PRIVATE KEY", keyDER))
}

func encodePEM(kind string, der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
}

// encrypted starts a server that speaks TLS alone, and demands a certificate of the authority from its clients if mutual.
func (a *authority) encrypted(t *testing.T, mutual bool) *bustest.Server {
	t.Helper()
	certFile, keyFile := a.issue(t, "server")
	pair, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		t.Fatal(err)
	}
	clients := x509.NewCertPool()
	clients.AddCert(a.certificate)
	return bustest.Start(t, func(o *server.Options) {
		o.TLSConfig = &tls.Config{Certificates: []tls.Certificate{pair}, ClientCAs: clients, MinVersion: tls.VersionTLS12}
		if mutual {
			o.TLSConfig.ClientAuth = tls.RequireAndVerifyClientCert
		}
	})
}

// The server's certificate is checked against --nats-ca, and the client's is shown; what fails is told.
func TestTLS(t *testing.T) {
	t.Parallel()
	a, other := newAuthority(t), newAuthority(t)
	cert, key := a.issue(t, "client")
	simple, mutual := a.encrypted(t, false), a.encrypted(t, true)
	plain := bustest.Start(t)
	for name, c := range map[string]struct {
		server  *bustest.Server
		auth    Auth
		refusal string // empty for a connection
	}{
		"own CA":                        {simple, Auth{CA: a.file}, ""},
		"client certificate":            {mutual, Auth{CA: a.file, Cert: cert, Key: key}, ""},
		"unknown CA":                    {simple, Auth{}, "certificate"},
		"CA of another":                 {simple, Auth{CA: other.file}, "certificate"},
		"no client certificate":         {mutual, Auth{CA: a.file}, "certificate"},
		"a server that speaks no TLS":   {plain, Auth{CA: a.file}, "secure connection"},
		"a server that speaks no TLS 2": {plain, Auth{Cert: cert, Key: key}, "secure connection"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			told := make(events, 1000)
			b := connectOnly(t, c.server.URL(), told.config, func(config *Config) { config.Auth = c.auth })
			if c.refusal == "" {
				awaitConnection(t, b)
				return
			}
			told.await(t, "cannot connect", c.refusal)
			if b.Connected() == nil {
				t.Error("it is connected")
			}
		})
	}
}

// TLS by the address alone, without a flag, checks against the system's authorities.
func TestTLSURL(t *testing.T) {
	t.Parallel()
	s := newAuthority(t).encrypted(t, false)
	told := make(events, 1000)
	connectOnly(t, strings.Replace(s.URL(), "nats://", "tls://", 1), told.config)
	told.await(t, "cannot connect", "certificate")
}

func TestNKey(t *testing.T) {
	t.Parallel()
	pair, err := nkeys.CreateUser()
	if err != nil {
		t.Fatal(err)
	}
	seed, _ := pair.Seed()
	public, _ := pair.PublicKey()
	s := bustest.Start(t, func(o *server.Options) { o.Nkeys = []*server.NkeyUser{{Nkey: public}} })
	awaitConnection(t, connectOnly(t, s.URL(), func(c *Config) { c.Auth = Auth{NKey: write(t, "seed", string(seed)+"\n")} }))
	told := make(events, 1000)
	connectOnly(t, s.URL(), told.config)
	told.await(t, "cannot connect", "Authorization Violation")
}

// A .creds file logs in to a server with operators.
func TestCredentials(t *testing.T) {
	t.Parallel()
	operator, _ := nkeys.CreateOperator()
	account, _ := nkeys.CreateAccount()
	user, _ := nkeys.CreateUser()
	operatorKey, _ := operator.PublicKey()
	accountKey, _ := account.PublicKey()
	userKey, _ := user.PublicKey()
	accountJWT, err := jwt.NewAccountClaims(accountKey).Encode(operator)
	if err != nil {
		t.Fatal(err)
	}
	userJWT, err := jwt.NewUserClaims(userKey).Encode(account)
	if err != nil {
		t.Fatal(err)
	}
	seed, _ := user.Seed()
	creds, err := jwt.FormatUserConfig(userJWT, seed)
	if err != nil {
		t.Fatal(err)
	}
	s := bustest.Start(t, func(o *server.Options) {
		o.JetStream = false
		o.TrustedKeys = []string{operatorKey}
		resolver := &server.MemAccResolver{}
		if err := resolver.Store(accountKey, accountJWT); err != nil {
			t.Fatal(err)
		}
		o.AccountResolver = resolver
	})
	awaitConnection(t, connectOnly(t, s.URL(), func(c *Config) { c.Auth = Auth{Credentials: write(t, "user.creds", string(creds))} }))
}
