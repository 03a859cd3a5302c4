package machine

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

func TestWithin(t *testing.T) {
	for _, test := range []struct {
		path, folder string
		want         bool
	}{
		{"/tmp/n1", "/tmp/n1", true},
		{"/tmp/n1/kubelet/pods", "/tmp/n1", true},
		{"/tmp/n10", "/tmp/n1", false},
		{"/tmp", "/tmp/n1", false},
	} {
		if got := within(test.path, test.folder); got != test.want {
			t.Errorf("within(%s, %s) = %v", test.path, test.folder, got)
		}
	}
}

func TestFoldersThatWereThereBeforeStay(t *testing.T) {
	before, since := t.TempDir(), filepath.Join(t.TempDir(), "since")
	if err := os.MkdirAll(filepath.Join(since, "deep"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := removeFolders(record{Absent: []string{since, "/no/such/folder"}}); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(since); err == nil {
		t.Errorf("%s is still there", since)
	}
	if _, err := os.Stat(before); err != nil {
		t.Error(err)
	}
}

// A process that only names a file of the node, in an editor or a shell, is none of its programs.
func TestOthersAreNoPrograms(t *testing.T) {
	other := exec.Command("/bin/sh", "-c", "read line; : "+RunDir+"/x")
	input, err := other.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := other.Start(); err != nil {
		t.Fatal(err)
	}
	pids, err := programPIDs()
	if err != nil {
		t.Error(err)
	}
	for _, pid := range pids {
		if pid == other.Process.Pid {
			t.Error("a shell is taken for a program of the node")
		}
	}
	input.Close()
	_ = other.Wait() // its exit code says nothing
}

func TestSysctlsAreReadByName(t *testing.T) {
	if file := sysctlFile("net.bridge.bridge-nf-call-iptables"); file != "/proc/sys/net/bridge/bridge-nf-call-iptables" {
		t.Error(file)
	}
	if _, known := readSysctls()["/proc/sys/kernel/panic"]; !known {
		t.Error("kernel.panic has not been read")
	}
}
