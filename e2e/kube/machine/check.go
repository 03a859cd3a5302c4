package machine

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
)

// packages are Debian's, by a program of each.
func packages() map[string]string {
	return map[string]string{
		"containerd":           "containerd",
		"ctr":                  "containerd",
		"runc":                 "runc",
		CNIPlugins + "/bridge": "containernetworking-plugins",
		"iptables":             "iptables",
	}
}

// CNIPlugins is where Debian puts them.
const CNIPlugins = "/usr/lib/cni"

// socketRoom is what the kubelet's longest socket adds to its folder, and the limit of a socket's path.
const (
	socketRoom  = len("/kubelet/pod-resources/kubelet.sock")
	socketLimit = 107
)

// checkHost tells what keeps a node from running here.
func checkHost(dir string) error {
	if os.Geteuid() != 0 {
		return errors.New("a node needs root: it makes a bridge and starts containers")
	}
	if len(dir)+socketRoom > socketLimit {
		return fmt.Errorf("the cluster's folder %s is too long a path for the kubelet's sockets: at most %d characters",
			dir, socketLimit-socketRoom)
	}
	var missing []string
	for program, name := range packages() {
		if _, err := exec.LookPath(program); err != nil {
			missing = append(missing, fmt.Sprintf("%s (package %s)", program, name))
		}
	}
	if len(missing) > 0 {
		return fmt.Errorf("a node needs programs that are not here: %s; on Debian: apt-get install containerd runc containernetworking-plugins iptables",
			strings.Join(missing, ", "))
	}
	return nil
}

// checkAlone tells what another cluster on this machine would lose. What a node of ours has left is gone already.
func checkAlone(ctx context.Context) error {
	pids, err := podPIDs()
	if err != nil {
		return err
	}
	if len(pids) > 0 {
		return errors.New("another kubelet's pods run on this machine, and a second one would end them: name that cluster in KUBECONFIG instead")
	}
	rules, err := saveRules(ctx, "iptables")
	if err != nil {
		return err
	}
	if strings.Contains(rules, ":KUBE-") {
		return errors.New("another kube-proxy's rules are on this machine (iptables-save shows chains named KUBE-): name that cluster in KUBECONFIG instead, or remove them")
	}
	return checkAddresses()
}

func checkAddresses() error {
	pods, err := netip.ParsePrefix(PodCIDR)
	if err != nil {
		return fmt.Errorf("parse the pods' range: %w", err)
	}
	addresses, err := net.InterfaceAddrs()
	if err != nil {
		return fmt.Errorf("list the addresses of this machine: %w", err)
	}
	for _, address := range addresses {
		prefix, err := netip.ParsePrefix(address.String())
		if err == nil && prefix.Overlaps(pods) {
			return fmt.Errorf("this machine has the address %s, and pods would get addresses of %s", address, PodCIDR)
		}
	}
	return nil
}
