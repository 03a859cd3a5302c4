package bus

import (
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"

	"github.com/nats-io/nats.go"
)

// Auth says as whom a Bus connects and how it knows the server. Files are read anew for every connection, so what they hold may be
// replaced at any time; a mistake in them at the start is an error of Connect.
type Auth struct {
	User         string `help:"User of the NATS server, with a password."`
	Password     Secret `help:"Password of --nats-user. Command lines are visible to other processes: better use the environment variable or a file."`
	PasswordFile string `help:"File with the password of --nats-user; it is read for every connection."`
	Credentials  string `help:"File with a user's JWT and seed (.creds), for a NATS server with operators."`
	NKey         string `name:"nkey" help:"File with the seed of a user's NKey."`
	CA           string `name:"ca" help:"PEM file with the certificates that the server's certificate is checked against, in place of the system's."`
	Cert         string `name:"cert" help:"PEM file with the client certificate to show to the server."`
	Key          string `name:"key" help:"PEM file with the key of --nats-cert."`
}

// Secret is a text that no log shows.
type Secret string

const hidden = "(hidden)"

// String hides the secret from fmt.
func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return hidden
}

// GoString is String, for %#v.
func (s Secret) GoString() string { return s.String() }

// MarshalText is String, for encoders.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// options are those of the client library; urls is the value of --nats.
func (a Auth) options(urls string, notify func(event string, err error)) (options []nats.Option, err error) {
	if err := a.check(urls); err != nil {
		return nil, err
	}
	for _, part := range []struct {
		used bool
		make func() (nats.Option, error)
	}{
		{a.Password != "", func() (nats.Option, error) { return nats.UserInfo(a.User, string(a.Password)), nil }},
		{a.PasswordFile != "", func() (nats.Option, error) { return a.passwordFile(notify) }},
		{a.Credentials != "", a.credentials},
		{a.NKey != "", a.seed},
		{a.CA != "", a.authorities},
		{a.Cert != "", a.certificate},
	} {
		if !part.used {
			continue
		}
		option, err := part.make()
		if err != nil {
			return nil, err
		}
		options = append(options, option)
	}
	return options, nil
}

// check names flags that do not fit together.
func (a Auth) check(urls string) error {
	inURL, err := checkURLs(urls)
	if err != nil {
		return err
	}
	var ways []string
	for _, way := range []struct {
		used bool
		name string
	}{
		{inURL, "the user in --nats"},
		{a.User != "", fmt.Sprintf("--nats-user %q", a.User)},
		{a.Credentials != "", fmt.Sprintf("--nats-credentials %q", a.Credentials)},
		{a.NKey != "", fmt.Sprintf("--nats-nkey %q", a.NKey)},
	} {
		if way.used {
			ways = append(ways, way.name)
		}
	}
	if len(ways) > 1 {
		return fmt.Errorf("%s: only one of them can be used", strings.Join(ways, " and "))
	}
	return a.checkPairs()
}

// checkPairs names flags that miss their other half.
func (a Auth) checkPairs() error {
	switch {
	case a.User != "" && a.Password == "" && a.PasswordFile == "":
		return fmt.Errorf("--nats-user %q: it needs --nats-password or --nats-password-file", a.User)
	case a.Password != "" && a.PasswordFile != "":
		return fmt.Errorf("--nats-password-file %q and --nats-password: only one of them can be used", a.PasswordFile)
	case a.User == "" && a.Password != "":
		return errors.New("--nats-password: it needs --nats-user")
	case a.User == "" && a.PasswordFile != "":
		return fmt.Errorf("--nats-password-file %q: it needs --nats-user", a.PasswordFile)
	case a.Cert != "" && a.Key == "":
		return fmt.Errorf("--nats-cert %q: it needs --nats-key", a.Cert)
	case a.Cert == "" && a.Key != "":
		return fmt.Errorf("--nats-key %q: it needs --nats-cert", a.Key)
	}
	return nil
}

// checkURLs reports whether an address has a user in it.
func checkURLs(urls string) (user bool, err error) {
	for address := range strings.SplitSeq(urls, ",") {
		address = strings.TrimSpace(address)
		if !strings.Contains(address, "://") {
			address = "nats://" + address
		}
		parsed, err := url.Parse(address)
		switch {
		case err != nil && strings.Contains(urls, "@"): // the reason may quote a part of the password
			return false, fmt.Errorf("--nats %q: it is no address: special characters in a user or password must be written as %%XX", redact(urls))
		case err != nil:
			return false, fmt.Errorf("--nats %q: %w", urls, err)
		}
		switch parsed.Scheme {
		case "nats", "tls", "ws", "wss":
		default:
			return false, fmt.Errorf("--nats %q: it must begin with nats://, tls://, ws:// or wss://", redact(urls))
		}
		user = user || parsed.User != nil
	}
	return user, nil
}

// redact hides users and passwords in a list of addresses, also in one that cannot be taken apart: all up to the last of them.
func redact(urls string) string {
	at := strings.LastIndex(urls, "@")
	if at < 0 {
		return urls
	}
	scheme, _, found := strings.Cut(urls[:at], "://")
	if !found {
		scheme = "nats"
	}
	return scheme + "://" + hidden + urls[at:]
}

// passwordFile is the option for a user whose password is in a file.
func (a Auth) passwordFile(notify func(event string, err error)) (nats.Option, error) {
	if _, err := a.readPassword(); err != nil {
		return nil, err
	}
	return nats.UserInfoHandler(func() (user, password string) {
		password, err := a.readPassword()
		if err != nil {
			notify("cannot connect", err)
		}
		return a.User, password
	}), nil
}

// readPassword reads the password file. Space around the password, as the line break that editors add, is not part of it.
func (a Auth) readPassword() (string, error) {
	content, err := os.ReadFile(a.PasswordFile)
	if err != nil {
		return "", fmt.Errorf("--nats-password-file %q: %w", a.PasswordFile, reasonOf(err))
	}
	password := strings.TrimSpace(string(content))
	if password == "" {
		return "", fmt.Errorf("--nats-password-file %q: it is empty", a.PasswordFile)
	}
	return password, nil
}

// credentials is the option for a .creds file.
func (a Auth) credentials() (nats.Option, error) {
	option := nats.UserCredentials(a.Credentials)
	var set nats.Options
	err := option(&set)
	if err == nil {
		_, err = set.UserJWT()
	}
	if err == nil {
		_, err = set.SignatureCB([]byte("check"))
	}
	return option, mistake("credentials", a.Credentials, err)
}

// seed is the option for an NKey.
func (a Auth) seed() (nats.Option, error) {
	option, err := nats.NkeyOptionFromSeed(a.NKey)
	return option, mistake("nkey", a.NKey, err)
}

// authorities is the option for the certificates that the server's is checked against.
func (a Auth) authorities() (nats.Option, error) {
	option := nats.RootCAs(a.CA)
	return option, mistake("ca", a.CA, option(&nats.Options{}))
}

// certificate is the option for the client's certificate.
func (a Auth) certificate() (nats.Option, error) {
	option := nats.ClientCert(a.Cert, a.Key)
	if err := option(&nats.Options{}); err != nil {
		return nil, fmt.Errorf("--nats-cert %q and --nats-key %q: %w", a.Cert, a.Key, err)
	}
	return option, nil
}

// mistake names the flag of a file that cannot be used.
func mistake(flag, value string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("--nats-%s %q: %w", flag, value, reasonOf(err))
}

// reasonOf is the error of a file without the file's name, where that can be told.
func reasonOf(err error) error {
	var path *os.PathError
	if errors.As(err, &path) {
		return path.Err
	}
	return err
}
