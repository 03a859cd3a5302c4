// Package pki makes the certificates, keys and kubeconfig files by which the components of a cluster know each other.
// The authority and the key of the service accounts stay in the cluster's folder, so that tokens and kubeconfig files
// stay good over a restart; every other certificate is made anew at each start.
package pki

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

// validity is how long a certificate holds: longer than any test cluster lives.
const validity = 10 * 365 * 24 * time.Hour

// Authority is the certificate authority of one cluster, in a folder.
type Authority struct {
	dir         string
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
}

// Identity is whom a certificate speaks for. Kubernetes reads the user from CommonName and the groups from
// Organizations (https://kubernetes.io/docs/reference/access-authn-authz/authentication/#x509-client-certificates).
type Identity struct {
	File          string // base name of the files: File.crt and File.key
	CommonName    string
	Organizations []string
	Hosts         []string // names and addresses; a server has some, a client none
}

// Open reads the authority in the folder and makes one if there is none.
func Open(dir string) (*Authority, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the folder of the certificates: %w", err)
	}
	a := &Authority{dir: dir}
	err := a.read()
	if errors.Is(err, fs.ErrNotExist) {
		err = a.create()
	}
	if err != nil {
		return nil, err
	}
	return a, nil
}

// CAFile is the certificate of the authority.
func (a *Authority) CAFile() string { return filepath.Join(a.dir, "ca.crt") }

// CAKeyFile is its key, with which the controller-manager signs certificate requests.
func (a *Authority) CAKeyFile() string { return filepath.Join(a.dir, "ca.key") }

// CertFile is the certificate that Issue wrote for the identity's File.
func (a *Authority) CertFile(file string) string { return filepath.Join(a.dir, file+".crt") }

// KeyFile is the key of CertFile.
func (a *Authority) KeyFile(file string) string { return filepath.Join(a.dir, file+".key") }

// Issue writes a certificate and a new key for the identity.
func (a *Authority) Issue(identity Identity) error {
	key, err := newKey(a.KeyFile(identity.File))
	if err != nil {
		return err
	}
	template, err := newTemplate(identity.CommonName, identity.Organizations)
	if err != nil {
		return err
	}
	template.KeyUsage = x509.KeyUsageDigitalSignature
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	if len(identity.Hosts) > 0 {
		template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	}
	for _, host := range identity.Hosts {
		if ip := net.ParseIP(host); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
			continue
		}
		template.DNSNames = append(template.DNSNames, host)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.certificate, &key.PublicKey, a.key)
	if err != nil {
		return fmt.Errorf("sign the certificate of %s: %w", identity.CommonName, err)
	}
	return writePEM(a.CertFile(identity.File), "CERTIFICATE", der)
}

// Key is the path of a key pair for signing, made if there is none: File.key holds both halves.
func (a *Authority) Key(file string) (string, error) {
	path := a.KeyFile(file)
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	_, err := newKey(path)
	return path, err
}

func (a *Authority) create() error {
	key, err := newKey(a.CAKeyFile())
	if err != nil {
		return err
	}
	template, err := newTemplate("sluice-test-ca", nil)
	if err != nil {
		return err
	}
	template.IsCA = true
	template.BasicConstraintsValid = true
	template.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return fmt.Errorf("sign the certificate of the authority: %w", err)
	}
	// The certificate is written last: with it, the authority is complete.
	if err := writePEM(a.CAFile(), "CERTIFICATE", der); err != nil {
		return err
	}
	return a.read()
}

func (a *Authority) read() error {
	der, err := readPEM(a.CAFile())
	if err != nil {
		return err
	}
	if a.certificate, err = x509.ParseCertificate(der); err != nil {
		return fmt.Errorf("parse %s: %w", a.CAFile(), err)
	}
	if der, err = readPEM(a.CAKeyFile()); err != nil {
		return err
	}
	if a.key, err = x509.ParseECPrivateKey(der); err != nil {
		return fmt.Errorf("parse %s: %w", a.CAKeyFile(), err)
	}
	return nil
}

func newTemplate(commonName string, organizations []string) (*x509.Certificate, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return nil, fmt.Errorf("draw a serial number: %w", err)
	}
	now := time.Now()
	return &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: commonName, Organization: organizations},
		NotBefore:    now.Add(-time.Hour),
		NotAfter:     now.Add(validity),
	}, nil
}

func newKey(path string) (*ecdsa.PrivateKey, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make a key: %w", err)
	}
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("encode a key: %w", err)
	}
	return key, writePEM(path, "EC PRIVATE KEY", der)
}

func writePEM(path, kind string, der []byte) error {
	text := pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
	if err := os.WriteFile(path, text, 0o600); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}

func readPEM(path string) ([]byte, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, fmt.Errorf("read %s: it holds no PEM block; remove the cluster's folder to start anew", path)
	}
	return block.Bytes, nil
}
