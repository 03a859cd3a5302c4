package arch_test

import (
	"slices"
	"strings"
	"testing"
	"testing/fstest"
)

// TestCheckerFindsBreaches proves that TestArchitecture can fail: each tree has one breach, or none.
func TestCheckerFindsBreaches(t *testing.T) {
	tests := []struct {
		name string
		tree map[string]string
		want []string
	}{
		{"allowed", files("services/gateway/a.go", imports("net/http", module+"/pkg/bus", "github.com/labstack/echo/v4/middleware")), nil},
		{"of ours", files("pkg/autoscale/a.go", imports(module+"/pkg/bus")),
			[]string{"pkg/autoscale/a.go: may not import " + module + "/pkg/bus"}},
		{"of others", files("services/dispatcher/a.go", imports("github.com/nats-io/nats.go/jetstream")),
			[]string{"services/dispatcher/a.go: may not import github.com/nats-io/nats.go/jetstream"}},
		{"a longer name is another module", files("pkg/bus/a.go", imports("github.com/nats-io/nats.golang")),
			[]string{"may not import github.com/nats-io/nats.golang"}},
		{"echo elsewhere", files("pkg/ops/a.go", imports("github.com/labstack/echo/v4")), []string{"may not import github.com/labstack/echo/v4"}},
		{"client-go in a service", files("services/scaler/a.go", imports("k8s.io/client-go/rest")), []string{"may not import k8s.io/client-go/rest"}},
		{"client-go in its kube package", files("services/scaler/kube/a.go", imports("k8s.io/client-go/rest")), nil},
		{"kube in local", files("services/local/a.go", imports(module+"/services/scaler/kube")),
			[]string{"may not import " + module + "/services/scaler/kube"}},
		{"pkg/kube in local", files("services/local/a.go", imports(module+"/pkg/kube")), []string{"may not import " + module + "/pkg/kube"}},
		{"pkg/kube in a service", files("services/jobrunner/a.go", imports(module+"/pkg/kube")), []string{"may not import " + module + "/pkg/kube"}},
		{"pkg/kube in a kube package", files("services/jobrunner/kube/a.go", imports(module+"/pkg/kube")), nil},
		{"kong in a service", files("services/local/a.go", imports("github.com/alecthomas/kong")), []string{"may not import github.com/alecthomas/kong"}},
		{"kong in a main", files("services/local/cmd/sluice/main.go", imports("github.com/alecthomas/kong", module+"/services/local")), nil},
		{"one service in another", files("services/gateway/a.go", imports(module+"/services/scaler")), []string{"may not import " + module + "/services/scaler"}},
		{"cgo", files("pkg/ops/a.go", imports("C")), []string{"may not import C"}},
		{"imports of tests are free", files("pkg/function/a.go", imports(), "pkg/function/a_test.go", imports("k8s.io/client-go/rest")), nil},
		{"build tags hide nothing", files("pkg/function/a.go", "//go:build plan9\n\n"+imports("k8s.io/api")), []string{"may not import k8s.io/api"}},
		{"unknown package", files("pkg/extra/a.go", imports()), []string{"pkg/extra: not in the import table"}},
		{"forbidden folder", files("scripts/common/a.go", imports()), []string{`scripts/common: the name "common" says nothing`}},
		{"forbidden package", files("scripts/a.go", "// Package util is.\npackage util\n"), []string{`scripts: the name "util" says nothing`}},
		{"no package comment", files("pkg/ops/a.go", "package ops\n"), []string{"pkg/ops: want one package comment, have 0"}},
		{"two package comments", files("pkg/ops/a.go", imports(), "pkg/ops/b.go", imports()), []string{"pkg/ops: want one package comment, have 2 [a.go b.go]"}},
		{"a build tag is no package comment", files("pkg/ops/a.go", "//go:build linux\n\npackage ops\n"), []string{"pkg/ops: want one package comment, have 0"}},
		{"long function", files("pkg/ops/a.go", imports()+function(71)), []string{"pkg/ops/a.go: long has 71 lines, at most 70"}},
		{"function at the limit", files("pkg/ops/a.go", imports()+function(70)), nil},
		{"long function of a test", files("pkg/ops/a.go", imports(), "pkg/ops/a_test.go", imports()+function(71)), nil},
		{"long file", files("pkg/ops/a.go", imports()+strings.Repeat("\n", 400)), []string{"pkg/ops/a.go: 403 lines, at most 400"}},
		{"long test file", files("pkg/ops/a.go", imports(), "pkg/ops/a_test.go", imports()+strings.Repeat("\n", 400)), []string{"pkg/ops/a_test.go: 403 lines, at most 400"}},
		{"what is not ours", files("e2e/a.go", imports("x.y/z"), ".ci/a.go", "package a\n", "pkg/ops/testdata/a.go", "nothing"), nil},
		{"e2e is passed over at the root alone", files("pkg/ops/e2e/a.go", imports()), []string{"pkg/ops/e2e: not in the import table"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			root := fstest.MapFS{}
			for name, text := range test.tree {
				root[name] = &fstest.MapFile{Data: []byte(text)}
			}
			sources, err := readSources(root)
			if err != nil {
				t.Fatal(err)
			}
			got := check(sources)
			if !slices.EqualFunc(got, test.want, strings.Contains) {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

func TestCheckerRefusesWhatDoesNotParse(t *testing.T) {
	_, err := readSources(fstest.MapFS{"pkg/ops/a.go": {Data: []byte("package ops\nfunc {")}})
	if err == nil || !strings.Contains(err.Error(), "pkg/ops/a.go") {
		t.Errorf("got %v", err)
	}
}

// files makes a tree of names and texts in turn.
func files(namesAndTexts ...string) map[string]string {
	tree := map[string]string{}
	for pair := range slices.Chunk(namesAndTexts, 2) {
		tree[pair[0]] = pair[1]
	}
	return tree
}

// imports is the text of a file of three lines with a package comment.
func imports(paths ...string) string {
	text := "// Package x is a test's.\npackage x\n"
	for _, imported := range paths {
		text += "import _ \"" + imported + "\"\n"
	}
	if len(paths) == 0 {
		text += "\n"
	}
	return text
}

// function is the text of one with that many lines.
func function(lines int) string { return "func long() {" + strings.Repeat("\n", lines-1) + "}\n" }
