package gateway

import (
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/alecthomas/kong"

	"github.com/sluicefaas/sluice/pkg/function"
)

func ranges(t testing.TB, texts ...string) []Range {
	t.Helper()
	list := make([]Range, len(texts))
	for i, text := range texts {
		if err := list[i].UnmarshalText([]byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	return list
}

// TestRow1WhoCalls: the TCP peer decides; behind trusted proxies the right-most hop that is none of them.
func TestRow1WhoCalls(t *testing.T) {
	proxies := ranges(t, "10.1.0.0/16", "192.0.2.7", "2001:db8::/32")
	const pod, outsider = "10.2.0.9", "203.0.113.5"
	for _, test := range []struct {
		name, peer string
		fields     []string
		want       string // "" is nobody known
	}{
		{"no proxy", outsider + ":1", nil, outsider},
		{"a peer that is not trusted", outsider + ":1", []string{pod}, outsider},
		{"a pod that names another one", pod + ":1", []string{"10.2.0.10"}, pod},
		{"a mapped peer", "[::ffff:10.2.0.9]:1", nil, pod},
		{"a peer with a zone", "[fe80::1%eth0]:1", nil, "fe80::1"},
		{"no peer", "@", []string{pod}, ""},
		{"a proxy that says nothing", "10.1.0.1:1", nil, "10.1.0.1"},
		{"one proxy", "10.1.0.1:1", []string{outsider}, outsider},
		{"a mapped proxy", "[::ffff:10.1.0.1]:1", []string{outsider}, outsider},
		{"a proxy over IPv6", "[2001:db8::1]:1", []string{outsider}, outsider},
		{"a single address", "192.0.2.7:1", []string{outsider}, outsider},
		{"next to a single address", "192.0.2.8:1", []string{pod}, "192.0.2.8"},
		{"two proxies", "10.1.0.1:1", []string{outsider + ", 10.1.0.2"}, outsider},
		{"a forged hop before", "10.1.0.1:1", []string{pod + ", " + outsider}, outsider},
		{"forged proxies before", "10.1.0.1:1", []string{pod + ",10.1.0.9," + outsider + ",10.1.0.2"}, outsider},
		{"several lines", "10.1.0.1:1", []string{pod, outsider}, outsider},
		{"several lines with proxies", "10.1.0.1:1", []string{pod, outsider + ",10.1.0.2", "10.1.0.3"}, outsider},
		{"spaces", "10.1.0.1:1", []string{" \t" + pod + "\t ,  10.1.0.2 "}, pod},
		{"a mapped hop", "10.1.0.1:1", []string{"::ffff:10.2.0.9"}, pod},
		{"a mapped proxy as hop", "10.1.0.1:1", []string{outsider + ", ::ffff:a01:2"}, outsider},
		{"only proxies", "10.1.0.1:1", []string{"10.1.0.2"}, ""},
		{"empty", "10.1.0.1:1", []string{""}, ""},
		{"an empty hop", "10.1.0.1:1", []string{pod + ","}, ""},
		{"an empty hop between", "10.1.0.1:1", []string{pod + ",,10.1.0.2"}, ""},
		{"a port", "10.1.0.1:1", []string{pod + ":80"}, ""},
		{"brackets", "10.1.0.1:1", []string{"[::ffff:10.2.0.9]"}, ""},
		{"a name", "10.1.0.1:1", []string{pod + ", localhost"}, ""},
		{"unknown", "10.1.0.1:1", []string{pod + ", unknown"}, ""},
		{"a zone", "10.1.0.1:1", []string{"fe80::1%eth0"}, ""},
		{"octal", "10.1.0.1:1", []string{"10.2.0.011"}, ""},
		{"fewer parts", "10.1.0.1:1", []string{"10.2.9"}, ""},
		{"quotes", "10.1.0.1:1", []string{`"10.2.0.9"`}, ""},
		{"a longer address that contains one", "10.1.0.1:1", []string{"110.2.0.9"}, "110.2.0.9"},
		{"no separator", "10.1.0.1:1", []string{pod + " " + outsider}, ""},
		{"semicolon", "10.1.0.1:1", []string{pod + ";" + outsider}, ""},
	} {
		r := &http.Request{RemoteAddr: test.peer}
		got := forwardedFor(peerOf(r), test.fields, proxies)
		if test.want == "" && got.IsValid() || test.want != "" && got != netip.MustParseAddr(test.want) {
			t.Errorf("%s: %q behind %s is %v, want %q", test.name, test.fields, test.peer, got, test.want)
		}
	}
}

// FuzzRow1ForwardedFor: without a trusted peer the peer is the caller; with one, what a caller writes left of the hop that the proxy has added
// changes nothing.
func FuzzRow1ForwardedFor(f *testing.F) {
	f.Add("10.2.0.9", "10.1.0.1:1")
	f.Add("10.2.0.9, 10.1.0.2,", "10.2.0.9:2")
	f.Fuzz(func(t *testing.T, forged, peer string) {
		proxies := ranges(t, "10.1.0.0/16")
		from := peerOf(&http.Request{RemoteAddr: peer})
		if got := forwardedFor(from, []string{forged}, proxies); !trusted(from, proxies) && got != from {
			t.Errorf("%q made %v of %q", forged, got, peer)
		}
		added := netip.MustParseAddr("203.0.113.5")
		for _, fields := range [][]string{{forged, added.String()}, {forged + ", " + added.String()}} {
			if got := forwardedFor(netip.MustParseAddr("10.1.0.1"), fields, proxies); got != added {
				t.Errorf("%q made %v", fields, got)
			}
		}
	})
}

func TestTrustedProxiesFlag(t *testing.T) {
	parse := func(args ...string) (Config, error) {
		var config Config
		_, err := must(kong.New(&config, kong.Exit(func(int) {})))(t).Parse(args)
		return config, err
	}
	config, err := parse("--trusted-proxies=10.1.2.3/24, 192.0.2.7,::ffff:172.16.0.0/108,2001:db8::/32", "--cors-allow-origin=https://A.example, http://localhost:3000", "--listen=:1,127.0.0.1:2")
	var got []string
	for _, r := range config.TrustedProxies {
		got = append(got, r.String())
	}
	if want := []string{"10.1.2.0/24", "192.0.2.7/32", "172.16.0.0/12", "2001:db8::/32"}; err != nil || !slices.Equal(got, want) {
		t.Errorf("%v, %v", got, err)
	}
	if !slices.Equal(config.CORSAllowOrigin, []Origin{"https://a.example", "http://localhost:3000"}) || !slices.Equal(config.Listen, []string{":1", "127.0.0.1:2"}) {
		t.Errorf("%+v", config)
	}
	config, err = parse()
	if err != nil || !slices.Equal(config.Listen, []string{":5000"}) || len(config.InsideListen)+len(config.TrustedProxies) > 0 || config.ExposeFunctions ||
		!slices.Equal(config.CORSAllowOrigin, []Origin{"*"}) {
		t.Errorf("the defaults are %+v, %v", config, err)
	}
	for flag, values := range map[string][]string{
		"--trusted-proxies":   {"ingress", "10.1.2.0/33", "0.0.0.0/0", "::/0", "10.1.2.3-10.1.2.9", "10.1.2.3:80"},
		"--cors-allow-origin": {"app.example.org", "https://app.example.org/", "https://*", "null", "https://a b"},
	} {
		for _, value := range values {
			if _, err := parse(flag + "=" + value); err == nil || !strings.Contains(err.Error(), flag) || !strings.Contains(err.Error(), `"`+value+`"`) {
				t.Errorf("%s=%s: %v", flag, value, err)
			}
		}
	}
}

// TestReplicaIsInsideOnceItCanBeCalled: from the moment that a replica can be called until it cannot, also where the bucket does not say so.
func TestReplicaIsInsideOnceItCanBeCalled(t *testing.T) {
	f := start(t)
	private := state("secret")
	private.Function.DefaultVisibility = function.Private
	f.put(private)
	wake := func() int { return f.send("POST", "/wake-function/secret", "").StatusCode }
	caller := state("caller", "127.0.0.1:1")
	f.put(caller)
	if status := wake(); status != http.StatusNotFound {
		t.Errorf("called by an endpoint that is not inside: %d", status)
	}
	caller.Endpoints[0].Inside = true
	f.put(caller)
	other := state("other", "127.0.0.1:2")
	other.Endpoints[0].Inside = true
	f.put(other)
	if status := wake(); status != http.StatusNoContent {
		t.Errorf("called by one that is: %d", status)
	}
	f.put(state("caller"))
	if status := wake(); status != http.StatusNoContent {
		t.Errorf("called while another one at the address is: %d", status)
	}
	if err := f.store.Delete(t.Context(), "other"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "nobody is inside", func() bool { return wake() == http.StatusNotFound })
}
