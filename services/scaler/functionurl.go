package scaler

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/sluicefaas/sluice/pkg/function"
)

// FunctionURL is a template of the address at which a function's replicas are called; the zero value stands for their own addresses.
type FunctionURL struct{ host, port string }

// Placeholders of a FunctionURL.
const (
	placeIP        = "{pod_ip}"
	placePort      = "{pod_port}"
	placeName      = "{function_name}"
	placeNamespace = "{namespace}"
)

// wantFunctionURL says what would be right.
const wantFunctionURL = "want http://host:port, where " + placeIP + ", " + placePort + ", " + placeName + " and " + placeNamespace + " are filled in"

// sample fills in a template so that what is left can be read as a URL.
var sample = strings.NewReplacer(placeIP, "10.0.0.1", placePort, "5000", placeName, "name", placeNamespace, "namespace")

var placeholder = regexp.MustCompile(`\{[^{}]*\}`)

// UnmarshalText implements encoding.TextUnmarshaler.
func (u *FunctionURL) UnmarshalText(text []byte) error {
	if len(text) == 0 {
		*u = FunctionURL{}
		return nil
	}
	if err := checkFunctionURL(string(text)); err != nil {
		return fmt.Errorf("%q %w; %s", text, err, wantFunctionURL)
	}
	authority := strings.TrimSuffix(string(text)[len("http://"):], "/")
	u.host, u.port = authority, "80"
	if colon := strings.LastIndexByte(authority, ':'); colon > strings.LastIndexByte(authority, ']') {
		u.host, u.port = authority[:colon], authority[colon+1:]
	}
	return nil
}

func checkFunctionURL(template string) error {
	for _, place := range placeholder.FindAllString(template, -1) {
		if !slices.Contains([]string{placeIP, placePort, placeName, placeNamespace}, place) {
			return fmt.Errorf("has %s, which stands for nothing", place)
		}
	}
	parsed, err := url.Parse(sample.Replace(template))
	if err != nil {
		return errors.New("is no URL")
	}
	if !validPort(parsed.Port()) {
		return fmt.Errorf("has the port %s", parsed.Port())
	}
	if parsed.Path != "" && parsed.Path != "/" || parsed.RawQuery != "" || parsed.ForceQuery || parsed.Fragment != "" {
		return errors.New("has a path, a query or a fragment")
	}
	switch {
	case parsed.Scheme != "http" || !strings.HasPrefix(template, "http://"):
		return errors.New("does not begin with http://")
	case parsed.User != nil:
		return errors.New("has a user")
	case parsed.Hostname() == "" || strings.ContainsAny(parsed.Host, "{}"):
		return errors.New("has no host")
	}
	return nil
}

// validPort reports whether a port, if there is one, can be called.
func validPort(port string) bool {
	number, err := strconv.ParseUint(port, 10, 16)
	return port == "" || err == nil && number > 0
}

// String is the template as it is written, with its port.
func (u FunctionURL) String() string {
	if u.host == "" {
		return ""
	}
	return "http://" + u.host + ":" + u.port
}

// shared says that all replicas of a function have one address.
func (u FunctionURL) shared() bool { return u.host != "" && !strings.Contains(u.host, placeIP) }

// needsPod says that a pod without an address has none here either.
func (u FunctionURL) needsPod() bool { return !u.shared() || strings.Contains(u.port, placePort) }

// apply gives the pods of a workload the addresses at which they are called.
func (u FunctionURL) apply(w function.Workload, namespace string) function.Workload {
	if u.host == "" || w.Watched {
		return w
	}
	pods := make([]function.Pod, len(w.Pods))
	for i, pod := range w.Pods {
		ip, port, err := net.SplitHostPort(pod.Address)
		if err == nil || !u.needsPod() {
			fill := strings.NewReplacer(placeIP, ip, placePort, port, placeName, w.Function.Name, placeNamespace, namespace)
			pod.Address = net.JoinHostPort(strings.Trim(fill.Replace(u.host), "[]"), fill.Replace(u.port))
		}
		pods[i] = pod
	}
	w.Pods = pods
	return w
}
