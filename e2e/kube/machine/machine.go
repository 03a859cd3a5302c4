// Package machine makes a machine ready for one node and puts it back as it was afterwards: the lock that keeps a
// second node away, the bridge, kernel settings and packet filter rules, and the cleaning up of what pods leave behind.
package machine

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

const (
	// RunDir is where a running node has its sockets and the files that its programs are started with. The path is
	// fixed: there is one node a machine, and the length of a socket's path is limited.
	RunDir = "/run/sluice-kube"

	// Bridge is the network that pods are attached to.
	Bridge = "sluice0"

	// Address is the node's on the bridge, and the API server's.
	Address = "10.121.0.1"

	// PodCIDR is the bridge's range; pods get addresses from FirstPod on.
	PodCIDR = "10.121.0.0/16"

	// FirstPod is the first address of a pod.
	FirstPod = "10.121.1.0"

	recordFile = RunDir + "/record.json"
	lockFile   = RunDir + ".lock" // outside of RunDir, which is removed
)

// outside are folders that the programs of a node create and that no setting moves into a folder of ours.
func outside() []string {
	return []string{
		"/var/lib/cni", "/var/lib/kubelet", "/var/log/containers", "/run/containerd", "/usr/libexec/kubernetes",
	}
}

// record says what the machine was like before the node came. It is written before anything is changed, so that a
// process that was not there can clean up.
type record struct {
	Dir     string            `json:"dir"`     // of the cluster
	Sysctls map[string]string `json:"sysctls"` // values of kernel settings by file
	Absent  []string          `json:"absent"`  // those of outside() that did not exist
}

func takeRecord(dir string) record {
	r := record{Dir: dir, Sysctls: readSysctls()}
	for _, folder := range outside() {
		if _, err := os.Stat(folder); errors.Is(err, fs.ErrNotExist) {
			r.Absent = append(r.Absent, folder)
		}
	}
	return r
}

func (r record) write() error {
	// Others may pass through it: containers enter the folders below.
	if err := os.MkdirAll(RunDir, 0o711); err != nil {
		return fmt.Errorf("make the node's folder: %w", err)
	}
	text, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("encode the machine's record: %w", err)
	}
	if err := os.WriteFile(recordFile, text, 0o600); err != nil {
		return fmt.Errorf("write the machine's record: %w", err)
	}
	return nil
}

// readRecord returns false if no node is or was running here.
func readRecord() (record, bool, error) {
	text, err := os.ReadFile(recordFile)
	if errors.Is(err, fs.ErrNotExist) {
		return record{}, false, nil
	}
	if err != nil {
		return record{}, false, fmt.Errorf("read the machine's record: %w", err)
	}
	var r record
	if err := json.Unmarshal(text, &r); err != nil {
		return record{}, false, fmt.Errorf("parse %s: %w", recordFile, err)
	}
	return r, true, nil
}

// changedSysctls are the files of the kernel settings that a kubelet, kube-proxy, the CNI plugins or this package change.
func changedSysctls() []string {
	var files []string
	for _, name := range []string{
		"kernel.panic", "kernel.panic_on_oops", "kernel.keys.root_maxkeys", "kernel.keys.root_maxbytes",
		"vm.overcommit_memory", "vm.panic_on_oom", "net.ipv4.ip_forward", "net.ipv4.conf.all.route_localnet",
		"net.ipv4.conf.all.arp_ignore", "net.bridge.bridge-nf-call-iptables",
		"net.netfilter.nf_conntrack_max", "net.netfilter.nf_conntrack_tcp_be_liberal",
		"net.netfilter.nf_conntrack_tcp_timeout_established", "net.netfilter.nf_conntrack_tcp_timeout_close_wait",
	} {
		files = append(files, sysctlFile(name))
	}
	return files
}

func sysctlFile(name string) string {
	return filepath.Join("/proc/sys", strings.ReplaceAll(name, ".", "/"))
}

// readSysctls leaves out what this kernel does not have.
func readSysctls() map[string]string {
	values := map[string]string{}
	for _, file := range changedSysctls() {
		if value, err := os.ReadFile(file); err == nil {
			values[file] = strings.TrimSpace(string(value))
		}
	}
	return values
}

func (r record) restoreSysctls() error {
	var all []error
	for file, value := range r.Sysctls {
		if now, err := os.ReadFile(file); err == nil && strings.TrimSpace(string(now)) == value {
			continue
		}
		if err := os.WriteFile(file, []byte(value), 0o600); err != nil {
			all = append(all, fmt.Errorf("restore a kernel setting: %w", err))
		}
	}
	return errors.Join(all...)
}
