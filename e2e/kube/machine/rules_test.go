package machine

import "testing"

const rulesBefore = `*filter
:INPUT ACCEPT [3:180]
:DOCKER - [0:0]
-A INPUT -i eth0 -j DOCKER
COMMIT
`

func TestOnlyTheRulesOfTheNodeGo(t *testing.T) {
	with := `*filter
:INPUT ACCEPT [3:180]
:DOCKER - [0:0]
:KUBE-SERVICES - [0:0]
:KUBE-KUBELET-CANARY - [0:0]
-A INPUT -m conntrack --ctstate NEW -j KUBE-SERVICES
-A INPUT -i eth0 -j DOCKER
-A FORWARD -i sluice0 -m comment --comment sluice-kube -j ACCEPT
-A KUBE-SERVICES -d 10.96.0.1/32 -j KUBE-SVC-NPX46M4PTMTKRN6Y
COMMIT
`
	if left := withoutOurs(with); left != rulesBefore {
		t.Errorf("left is\n%s", left)
	}
	if left := withoutOurs(rulesBefore); left != rulesBefore {
		t.Errorf("rules of others have changed to\n%s", left)
	}
}
