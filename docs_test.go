package arch_test

import (
	"io/fs"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// Each test that ARCHITECTURE.md names exists, so that the rules there are held by what it says.
func TestArchitectureNamesTestsThatExist(t *testing.T) {
	doc, err := os.ReadFile("ARCHITECTURE.md")
	if err != nil {
		t.Fatal(err)
	}
	defined := testsDefined(t)
	named := regexp.MustCompile("`((?:Test|Fuzz)[A-Za-z0-9_]+)`").FindAllStringSubmatch(string(doc), -1)
	if len(named) == 0 {
		t.Fatal("no test is named")
	}
	for _, match := range named {
		if !defined[match[1]] {
			t.Errorf("ARCHITECTURE.md names %s, which does not exist", match[1])
		}
	}
}

// Each scenario of e2e that ARCHITECTURE.md names by its sentence exists.
func TestArchitectureNamesScenariosThatExist(t *testing.T) {
	doc, err := os.ReadFile("ARCHITECTURE.md")
	if err != nil {
		t.Fatal(err)
	}
	scenarios, err := os.ReadFile("e2e/e2e_test.go")
	if err != nil {
		t.Fatal(err)
	}
	named := regexp.MustCompile("`e2e: ([^`]+)`").FindAllStringSubmatch(string(doc), -1)
	if len(named) == 0 {
		t.Fatal("no scenario is named")
	}
	for _, match := range named {
		if !strings.Contains(string(scenarios), strconv.Quote(match[1])) {
			t.Errorf("ARCHITECTURE.md names the scenario %q, which does not exist", match[1])
		}
	}
}

func testsDefined(t *testing.T) map[string]bool {
	t.Helper()
	defined := map[string]bool{}
	pattern := regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)[A-Za-z0-9_]+)\(`)
	err := fs.WalkDir(os.DirFS("."), ".", func(path string, _ fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		source, err := os.ReadFile(path)
		for _, match := range pattern.FindAllStringSubmatch(string(source), -1) {
			defined[match[1]] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return defined
}
