package local

import (
	"maps"
	"net/netip"
	"testing"

	"github.com/sluicefaas/sluice/pkg/function"
)

// Row 1 of the bugs of others: who is inside is an address, compared as one.
func TestRow1InsidersAreTheAddressesOfTrustedFunctionsElsewhere(t *testing.T) {
	t.Parallel()
	who := func(name string) function.Insider {
		return function.Insider{Kind: function.InsiderFunction, Name: name, Replica: name + "-0"}
	}
	address := netip.MustParseAddr
	hosts := map[string]function.Insider{"a": who("a"), "b": who("b")}
	found := map[string][]netip.Addr{
		"a": {address("10.1.2.3"), address("::ffff:10.1.2.4"), address("127.0.0.5"), address("::1"), address("0.0.0.0"), address("192.0.2.1")},
		"b": {address("fd00::7%eth0"), address("224.0.0.1")},
	}
	got := insiders(hosts, found, map[netip.Addr]bool{address("192.0.2.1"): true})
	want := map[netip.Addr]function.Insider{address("10.1.2.3"): who("a"), address("10.1.2.4"): who("a"), address("fd00::7"): who("b")}
	if !maps.Equal(got, want) {
		t.Errorf("inside are %v, want %v", got, want)
	}
}

func TestInsideIsReportedAndTakenBack(t *testing.T) {
	t.Parallel()
	far := func(name, url string, trust function.Trust) Workload {
		return Workload{Function: function.Function{Name: name, DefaultTrust: trust}, URL: url}
	}
	run := runApplying(t, ClusterConfig{Workloads: []Workload{
		far("a", "192.0.2.7:80", function.Trusted), far("b", "192.0.2.8:80", function.Untrusted), far("c", "127.0.0.1:80", function.Trusted),
	}})
	run.WaitInside(t, patience, func(inside map[netip.Addr]function.Insider) bool {
		return len(inside) == 1 && inside[netip.MustParseAddr("192.0.2.7")].Name == "a"
	})
	run.apply(far("d", "192.0.2.9:80", function.Trusted))
	run.WaitInside(t, patience, func(inside map[netip.Addr]function.Insider) bool {
		return len(inside) == 1 && inside[netip.MustParseAddr("192.0.2.9")].Name == "d"
	})
	run.apply()
	run.WaitInside(t, patience, func(inside map[netip.Addr]function.Insider) bool { return len(inside) == 0 })
}
