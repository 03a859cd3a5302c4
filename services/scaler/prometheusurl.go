package scaler

import (
	"errors"
	"fmt"
	"net/url"
	"strconv"
)

// PrometheusURL is the address of a Prometheus server; the zero value stands for none.
type PrometheusURL struct{ address string }

// UnmarshalText implements encoding.TextUnmarshaler.
func (u *PrometheusURL) UnmarshalText(text []byte) error {
	if len(text) == 0 {
		*u = PrometheusURL{}
		return nil
	}
	parsed, err := url.Parse(string(text))
	written := "the value" // may have a password
	if err == nil {
		written = strconv.Quote(parsed.Redacted())
	}
	switch {
	case err != nil:
		err = errors.New("is no URL")
	case parsed.Scheme != "http" && parsed.Scheme != "https":
		err = errors.New("begins neither with http:// nor with https://")
	case parsed.Hostname() == "":
		err = errors.New("has no host")
	case parsed.RawQuery != "" || parsed.ForceQuery || parsed.Fragment != "":
		err = errors.New("has a query or a fragment")
	}
	if err != nil {
		return fmt.Errorf("%s %w; want http://host:port, with the path that is in front of /api/v1 if there is one", written, err)
	}
	u.address = string(text)
	return nil
}

// String is the address as it is written.
func (u PrometheusURL) String() string { return u.address }
