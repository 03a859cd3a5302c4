package machine

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"

	"github.com/vishvananda/netlink"
)

// SetUpNetwork makes the bridge, and has the kernel forward and filter what passes it. services is the range of ClusterIPs.
func SetUpNetwork(ctx context.Context, services string) error {
	bridge, err := addBridge()
	if err != nil {
		return err
	}
	if err := routeServices(bridge, services); err != nil {
		return err
	}
	// kube-proxy's rules turn a ClusterIP into a pod's address, also for an answer that the bridge could deliver alone.
	if _, err := os.Stat(sysctlFile("net.bridge.bridge-nf-call-iptables")); err != nil {
		_ = exec.CommandContext(ctx, "modprobe", "br_netfilter").Run() // said below if it did not help
	}
	for _, name := range []string{"net.ipv4.ip_forward", "net.bridge.bridge-nf-call-iptables"} {
		if err := os.WriteFile(sysctlFile(name), []byte("1"), 0o600); err != nil {
			return fmt.Errorf("turn on the kernel's %s, without which pods do not reach services: %w", name, err)
		}
	}
	return allowForwarding(ctx)
}

func addBridge() (netlink.Link, error) {
	attributes := netlink.NewLinkAttrs()
	attributes.Name = Bridge
	link := &netlink.Bridge{LinkAttrs: attributes}
	if err := netlink.LinkAdd(link); err != nil {
		return nil, fmt.Errorf("add the bridge %s: %w", Bridge, err)
	}
	address, err := netlink.ParseAddr(Address + "/16")
	if err != nil {
		return nil, fmt.Errorf("parse the bridge's address: %w", err)
	}
	if err := netlink.AddrAdd(link, address); err != nil {
		return nil, fmt.Errorf("give %s to the bridge: %w", address, err)
	}
	if err := netlink.LinkSetUp(link); err != nil {
		return nil, fmt.Errorf("set the bridge up: %w", err)
	}
	return link, nil
}

// routeServices gives ClusterIPs a route where there is no default one: without any, the kernel refuses to send before
// kube-proxy's rules see the packet.
func routeServices(bridge netlink.Link, services string) error {
	first, all, err := net.ParseCIDR(services)
	if err != nil {
		return fmt.Errorf("parse the services' range: %w", err)
	}
	if _, err := netlink.RouteGet(first); err == nil {
		return nil
	}
	if err := netlink.RouteAdd(&netlink.Route{LinkIndex: bridge.Attrs().Index, Dst: all}); err != nil {
		return fmt.Errorf("add a route to %s: %w", services, err)
	}
	return nil
}

// deleteLinks deletes the bridge and the machine's ends of the pods' links.
func deleteLinks() error {
	bridge, err := netlink.LinkByName(Bridge)
	if errors.As(err, new(netlink.LinkNotFoundError)) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("find the bridge: %w", err)
	}
	links, err := netlink.LinkList()
	if err != nil {
		return fmt.Errorf("list the links: %w", err)
	}
	var all []error
	for _, link := range append(links, bridge) {
		ours := link.Attrs().MasterIndex == bridge.Attrs().Index || link == bridge
		if !ours {
			continue
		}
		// The end of a pod's network has already deleted a link that is listed here, now or in a moment.
		if err := netlink.LinkDel(link); err != nil && !gone(link) {
			all = append(all, fmt.Errorf("delete the link %s: %w", link.Attrs().Name, err))
		}
	}
	return errors.Join(all...)
}

func gone(link netlink.Link) bool {
	_, err := netlink.LinkByName(link.Attrs().Name)
	return errors.As(err, new(netlink.LinkNotFoundError))
}
