package cluster_test

import (
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// snapshot is what a node must leave as it was, one line each.
func snapshot(t *testing.T) []string {
	t.Helper()
	lines := slices.Concat(links(t), mounts(t), rules(t), podCgroups(), settings(), folders(), nodePrograms(t))
	slices.Sort(lines)
	return lines
}

// checkSame reports every line that has come or gone.
func checkSame(t *testing.T, before, after []string) {
	t.Helper()
	for _, line := range after {
		if !slices.Contains(before, line) {
			t.Errorf("the machine has now: %s", line)
		}
	}
	for _, line := range before {
		if !slices.Contains(after, line) {
			t.Errorf("the machine has lost: %s", line)
		}
	}
}

func links(t *testing.T) []string {
	t.Helper()
	interfaces, err := net.Interfaces()
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, link := range interfaces {
		all = append(all, "link "+link.Name)
	}
	return all
}

func mounts(t *testing.T) []string {
	t.Helper()
	text, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for line := range strings.Lines(string(text)) {
		all = append(all, "mount "+strings.TrimSpace(line))
	}
	return all
}

// rules leaves out tables, counters and built-in chains, which exist from the first look on.
func rules(t *testing.T) []string {
	t.Helper()
	var all []string
	for _, program := range []string{"iptables-save", "ip6tables-save"} {
		text, err := exec.Command(program).Output()
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			if strings.HasPrefix(line, "-A") || strings.HasPrefix(line, ":") && !strings.Contains(line, " ACCEPT ") {
				all = append(all, program+" "+strings.TrimSpace(line))
			}
		}
	}
	return all
}

func podCgroups() []string {
	var all []string
	_ = filepath.WalkDir("/sys/fs/cgroup", func(path string, entry fs.DirEntry, err error) error {
		if err == nil && entry.IsDir() && strings.Contains(path, "kubepods") {
			all = append(all, "cgroup "+path)
		}
		return nil // others come and go meanwhile
	})
	return all
}

func settings() []string {
	var all []string
	for _, name := range []string{
		"kernel/panic", "kernel/panic_on_oops", "kernel/keys/root_maxkeys", "kernel/keys/root_maxbytes", "vm/overcommit_memory",
		"net/ipv4/ip_forward", "net/ipv4/conf/all/route_localnet", "net/bridge/bridge-nf-call-iptables",
		"net/netfilter/nf_conntrack_max", "net/netfilter/nf_conntrack_tcp_timeout_established",
		"net/netfilter/nf_conntrack_tcp_timeout_close_wait", "net/netfilter/nf_conntrack_tcp_be_liberal",
	} {
		if value, err := os.ReadFile("/proc/sys/" + name); err == nil {
			all = append(all, "setting "+name+" "+strings.TrimSpace(string(value)))
		}
	}
	return all
}

func folders() []string {
	var all []string
	for _, folder := range []string{
		"/run/sluice-kube", "/run/netns", "/run/containerd", "/var/lib/cni", "/var/lib/kubelet", "/var/log/pods", "/var/log/containers",
		"/usr/libexec/kubernetes", "/etc/cni", "/opt/cni", "/opt/containerd",
	} {
		if _, err := os.Stat(folder); err == nil {
			all = append(all, "folder "+folder)
		}
	}
	return all
}

// nodePrograms are those that a node starts and the pods' own.
func nodePrograms(t *testing.T) []string {
	t.Helper()
	processes, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, process := range processes {
		executable, err := os.Readlink(process + "/exe")
		if err != nil {
			continue // it has ended just now, or is the kernel's
		}
		arguments, _ := os.ReadFile(process + "/cmdline")
		names := []string{"containerd", "containerd-shim-runc-v2", "runc", "coredns", "pause", "probe"}
		ours := filepath.Base(executable) == "kube" && strings.Contains(string(arguments), "/run/sluice-kube/")
		if ours || slices.Contains(names, filepath.Base(executable)) {
			all = append(all, "process "+strings.ReplaceAll(string(arguments), "\x00", " "))
		}
	}
	return all
}
