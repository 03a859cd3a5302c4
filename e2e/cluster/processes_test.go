package cluster_test

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// processesOf are the ids of the programs that have the folder in their arguments, by the first argument: "etcd",
// "kube-apiserver", …, and "control-plane" or "node" for the supervisor.
func processesOf(t *testing.T, dir string) map[string]int {
	t.Helper()
	files, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]int{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil || !bytes.Contains(text, []byte(dir)) {
			continue // or it has ended just now
		}
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(file)))
		arguments := strings.Split(string(text), "\x00")
		if err == nil && len(arguments) > 1 {
			found[arguments[1]] = pid
		}
	}
	return found
}

func keys(m map[string]int) []string {
	var all []string
	for key := range m {
		all = append(all, key)
	}
	slices.Sort(all)
	return all
}
