// Package arch_test holds the layout of the product: which package may import which, the names, the sizes and the
// package comments. It reads the sources itself, because the test cache does not see what a child such as go list reads.
package arch_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/sluicefaas/sluice"

// House limits, in lines.
const (
	maxFile     = 400
	maxFunction = 70
)

var forbiddenNames = []string{"util", "utils", "common", "helper", "helpers", "types", "models"}

// notOurs are folders at the root that this test passes over: modules and scratch of their own.
var notOurs = []string{"e2e", "bin", "data"}

// rule says what the non-test files of the packages that fit pattern may import.
type rule struct {
	// pattern is a folder; a last element ** stands for it and everything below.
	pattern string
	// ours are patterns of our own packages.
	ours string
	// others are prefixes of import paths outside the standard library; * is any.
	others string
}

// Names for groups of modules of others.
const (
	zerolog    = "github.com/rs/zerolog "
	prometheus = "github.com/prometheus/client_golang "
	sync       = "golang.org/x/sync "
	serving    = zerolog + prometheus + sync
	starting   = zerolog + "github.com/alecthomas/kong golang.org/x/crypto/x509roots/fallback "
	kubernetes = "k8s.io/client-go k8s.io/api k8s.io/apimachinery k8s.io/utils k8s.io/klog sigs.k8s.io "
	natsClient = "github.com/nats-io/nats.go github.com/nats-io/nuid "
	natsServer = "github.com/nats-io/nats-server/v2 "
	manifests  = "k8s.io/api k8s.io/apimachinery sigs.k8s.io/json go.yaml.in/yaml/v3 github.com/mattn/go-shellwords "
)

// importTable is the one of the design. The first rule that fits a package holds; a package without one is refused.
var importTable = []rule{
	{"pkg/schedule", "", "github.com/robfig/cron/v3"},
	{"pkg/function", "pkg/schedule", ""},
	{"pkg/job", "pkg/schedule", "k8s.io/apimachinery/pkg/api/resource go.yaml.in/yaml/v3"},
	{"pkg/autoscale", "pkg/function pkg/schedule", ""},
	{"pkg/upstream", "pkg/function", "golang.org/x/net"},
	{"pkg/bus", "pkg/function pkg/job", natsClient},
	{"pkg/bus/bustest", "pkg/bus", natsClient + natsServer + "go.uber.org/goleak"},
	{"pkg/ops", "", starting + prometheus + sync + "github.com/mattn/go-isatty"},

	{"pkg/kube", "", kubernetes + zerolog + prometheus},
	{"pkg/kube/kubetest", "", kubernetes + "go.uber.org/goleak"},
	{"pkg/ops/opstest", "pkg/ops", "github.com/alecthomas/kong"},

	{"services/gateway", "pkg/function pkg/job pkg/upstream pkg/bus pkg/ops", serving + "github.com/labstack/echo/v4"},
	{"services/dispatcher", "pkg/function pkg/upstream pkg/bus pkg/ops", serving},
	{"services/scaler", decides, serving + "github.com/prometheus/common"},
	{"services/jobrunner", decides, serving},
	{"services/scaler/scalertest", "services/scaler pkg/function", ""},
	{"services/jobrunner/jobrunnertest", "services/jobrunner pkg/job", ""},
	{"services/scaler/kube", "services/scaler pkg/function pkg/job pkg/kube pkg/ops", kubernetes + serving},
	{"services/jobrunner/kube", "services/jobrunner pkg/function pkg/job pkg/kube", kubernetes + serving},
	{"services/local", runsAnywhere + "services/gateway services/dispatcher services/scaler services/jobrunner",
		serving + manifests + natsServer + "github.com/gofrs/flock github.com/mattn/go-isatty golang.org/x/sys"},

	{"services/gateway/cmd/**", "services/gateway pkg/upstream pkg/bus pkg/ops", starting},
	{"services/dispatcher/cmd/**", "services/dispatcher pkg/upstream pkg/bus pkg/ops", starting},
	{"services/scaler/cmd/**", "services/scaler services/scaler/kube pkg/bus pkg/ops", starting},
	{"services/jobrunner/cmd/**", "services/jobrunner services/jobrunner/kube pkg/bus pkg/ops", starting},
	{"services/local/cmd/**", "services/local pkg/bus pkg/ops", starting},

	{"deploy/**", "deploy/**", ""},
	{"scripts/**", runsAnywhere + "services/gateway services/dispatcher services/scaler services/jobrunner services/local", "*"},
}

// runsAnywhere are the packages of ours that do not link Kubernetes' client.
const runsAnywhere = "pkg/schedule pkg/function pkg/job pkg/autoscale pkg/upstream pkg/bus pkg/bus/bustest pkg/ops pkg/ops/opstest "

// decides is what the scaler and the jobrunner may import of ours.
const decides = "pkg/function pkg/job pkg/autoscale pkg/schedule pkg/bus pkg/ops"

// TestArchitecture checks this repository.
func TestArchitecture(t *testing.T) {
	sources, err := readSources(os.DirFS("."))
	if err != nil {
		t.Fatal(err)
	}
	if len(sources) < 5 {
		t.Fatalf("only %d sources were found: the walk is broken", len(sources))
	}
	for _, finding := range check(sources) {
		t.Error(finding)
	}
}

// source is one parsed file.
type source struct {
	// name is its path from the root; dir its folder.
	name, dir string
	test      bool
	lines     int
	file      *ast.File
	set       *token.FileSet
}

// readSources parses every Go file of the module.
func readSources(root fs.FS) ([]source, error) {
	var sources []source
	err := fs.WalkDir(root, ".", func(name string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && skipped(name):
			return fs.SkipDir
		case entry.IsDir() || path.Ext(name) != ".go":
			return nil
		}
		s, err := parse(root, name)
		sources = append(sources, s)
		return err
	})
	return sources, err
}

func skipped(dir string) bool {
	base := path.Base(dir)
	return dir != "." && (base[0] == '.' || base[0] == '_') || base == "testdata" || slices.Contains(notOurs, dir)
}

func parse(root fs.FS, name string) (source, error) {
	text, err := fs.ReadFile(root, name)
	if err != nil {
		return source{}, fmt.Errorf("read a source: %w", err)
	}
	set := token.NewFileSet()
	file, err := parser.ParseFile(set, name, text, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return source{}, fmt.Errorf("parse a source: %w", err)
	}
	return source{
		name: name, dir: path.Dir(name), test: strings.HasSuffix(name, "_test.go"),
		lines: strings.Count(string(text), "\n"), file: file, set: set,
	}, nil
}

// check returns every breach of the rules, one sentence each.
func check(sources []source) []string {
	var findings []string
	comments := map[string][]string{} // folder → files with a package comment
	for _, s := range sources {
		findings = append(findings, checkNames(s)...)
		findings = append(findings, checkSizes(s)...)
		if s.test {
			continue
		}
		findings = append(findings, checkImports(s)...)
		files := comments[s.dir]
		if s.file.Doc != nil {
			files = append(files, path.Base(s.name))
		}
		comments[s.dir] = files
	}
	for dir, files := range comments {
		if len(files) != 1 {
			findings = append(findings, fmt.Sprintf("%s: want one package comment, have %d %v", dir, len(files), files))
		}
	}
	slices.Sort(findings)
	return slices.Compact(findings)
}

func checkNames(s source) []string {
	for _, name := range append(strings.Split(s.dir, "/"), s.file.Name.Name) {
		if slices.Contains(forbiddenNames, strings.TrimSuffix(name, "_test")) {
			return []string{fmt.Sprintf("%s: the name %q says nothing: name the package after what it is for", s.dir, name)}
		}
	}
	return nil
}

// checkSizes holds the length of files, and of functions outside tests.
func checkSizes(s source) []string {
	if ast.IsGenerated(s.file) {
		return nil
	}
	var findings []string
	if s.lines > maxFile {
		findings = append(findings, fmt.Sprintf("%s: %d lines, at most %d", s.name, s.lines, maxFile))
	}
	for _, declaration := range s.file.Decls {
		function, ok := declaration.(*ast.FuncDecl)
		if !ok || s.test {
			continue
		}
		lines := s.set.Position(function.End()).Line - s.set.Position(function.Pos()).Line + 1
		if lines > maxFunction {
			findings = append(findings, fmt.Sprintf("%s: %s has %d lines, at most %d", s.name, function.Name.Name, lines, maxFunction))
		}
	}
	return findings
}

func checkImports(s source) []string {
	r, ok := ruleFor(s.dir)
	if !ok {
		return []string{fmt.Sprintf("%s: not in the import table: add a rule with what it may import", s.dir)}
	}
	var findings []string
	for _, spec := range s.file.Imports {
		imported, err := strconv.Unquote(spec.Path.Value)
		if err != nil || !r.allows(imported) {
			findings = append(findings, fmt.Sprintf("%s: may not import %s (import table, %s)", s.name, imported, r.pattern))
		}
	}
	return findings
}

func ruleFor(dir string) (rule, bool) {
	for _, r := range importTable {
		if fits(r.pattern, dir) {
			return r, true
		}
	}
	return rule{}, false
}

func (r rule) allows(imported string) bool {
	if imported == module || within(imported, module) {
		dir := strings.TrimPrefix(imported, module+"/")
		return slices.ContainsFunc(strings.Fields(r.ours), func(pattern string) bool { return fits(pattern, dir) })
	}
	if first, _, _ := strings.Cut(imported, "/"); !strings.Contains(first, ".") {
		return imported != "C" // the standard library; cgo would tie the binaries to a machine
	}
	return slices.ContainsFunc(strings.Fields(r.others), func(prefix string) bool {
		return prefix == "*" || imported == prefix || within(imported, prefix)
	})
}

// fits says whether dir is the folder that pattern names, or below it where pattern ends in /**.
func fits(pattern, dir string) bool {
	parent, deep := strings.CutSuffix(pattern, "/**")
	return dir == parent || deep && within(dir, parent)
}

func within(name, parent string) bool { return strings.HasPrefix(name, parent+"/") }
