package local

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

func TestCommandIsSplitWithoutAShell(t *testing.T) {
	for text, want := range map[string][]string{
		"run":                                 {"run"},
		"  python3  app.py ":                  {"python3", "app.py"},
		`node -e "a | b; c" 'd & e' f\ g`:     {"node", "-e", "a | b; c", "d & e", "f g"},
		"echo $HOME ${HOME} * ~ # {port}":     {"echo", "$HOME", "${HOME}", "*", "~", "#", "{port}"},
		`echo '$(id)' 'a` + "`" + `id` + "`'": {"echo", "$(id)", "a`id`"},
		`echo "" ''`:                          {"echo", "", ""},
	} {
		if words, err := splitCommand(text); err != nil || !slices.Equal(words, want) {
			t.Errorf("%s: got %q (%v)", text, words, err)
		}
	}
}

// Row 7 of the bugs of others: nothing ever passes a shell.
func TestCommandThatNeedsAShellIsRefused(t *testing.T) {
	for text, want := range map[string]error{
		"":            errNoWords,
		"''":          errNoWords,
		"a | b":       errNoShell,
		"a; b":        errNoShell,
		"a && b":      errNoShell,
		"a > b":       errNoShell,
		"a 2>&1":      errNoShell,
		"a < b":       errNoShell,
		"a $(id)":     errNoShell,
		"a `id`":      errNoShell,
		"a \"`id`\"":  errNoShell,
		"a 'unclosed": errBadWords,
		`a "unclosed`: errBadWords,
		`a unclosed\`: errBadWords,
		`a "\"" | b`:  errNoShell,
		`a '\' | b`:   errNoShell,
		"(a)":         errNoShell,
	} {
		if words, err := splitCommand(text); !errors.Is(err, want) {
			t.Errorf("%s: got %q, %v; want %v", text, words, err, want)
		}
	}
}

func TestLocalURL(t *testing.T) {
	for text, want := range map[string]string{
		"127.0.0.1:80":         "127.0.0.1:80",
		"http://web:8080":      "web:8080",
		"HTTP://web:8080/":     "web:8080",
		"http://[::1]:8080":    "[::1]:8080",
		"https://web:443":      "",
		"http://web":           "",
		"http://web:8080/path": "",
		"http://web:0":         "",
		"web:http":             "",
		":8080":                "",
		"http://u:p@web:80":    "",
		"web:80?x":             "",
		"":                     "",
	} {
		got, err := parseLocalURL(text)
		if got != want || (err == nil) != (want != "") {
			t.Errorf("%s: got %q, %v", text, got, err)
		}
	}
}

func TestLocalURLNeedsNoCommand(t *testing.T) {
	workloads, notices := load(t, strings.Replace(on, "LocalCommand: run", "LocalURL: http://127.0.0.1:9", 1))
	requireNotices(t, notices)
	if len(workloads) != 1 || workloads[0].URL != "127.0.0.1:9" || len(workloads[0].Command) != 0 {
		t.Errorf("got %+v", workloads)
	}
}

// The rules are those of Kubernetes' documentation on dependent environment variables.
func TestReferences(t *testing.T) {
	values := map[string]string{"A": "1", "B": "$(A)"}
	lookup := func(name string) (string, bool) { value, found := values[name]; return value, found }
	for text, want := range map[string]string{
		"":           "",
		"$(A)":       "1",
		"x$(A)y$(A)": "x1y1",
		"$(B)":       "$(A)",
		"$(C)":       "$(C)",
		"$$(A)":      "$(A)",
		"$$$(A)":     "$1",
		"$A $ $":     "$A $ $",
		"$(A":        "$(A",
		"$()":        "$()",
		"$(A B)":     "$(A B)",
		"100$":       "100$",
	} {
		if got := expandReferences(text, lookup); got != want {
			t.Errorf("%s: got %q, want %q", text, got, want)
		}
	}
}
