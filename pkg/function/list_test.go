package function_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/sluicefaas/sluice/pkg/function"
)

// requireProblems compares the sentences without their annotation.
func requireProblems(t *testing.T, about string, got []function.Problem, want ...string) {
	t.Helper()
	var sentences []string
	for _, problem := range got {
		_, sentence, _ := strings.Cut(problem.String(), ": ")
		sentences = append(sentences, sentence)
	}
	if !slices.Equal(sentences, want) {
		t.Errorf("%s: got problems\n  %s\nwant\n  %s", about, strings.Join(sentences, "\n  "), strings.Join(want, "\n  "))
	}
}

func TestDependsOn(t *testing.T) {
	const label = "is no name of a workload: it must have 1 to 63 characters, of a-z, 0-9 and '-', with a letter or digit at both ends; it is left out"
	for _, c := range []struct {
		value    string
		want     []string
		problems []string
	}{
		{"fibonacci1,mysql", []string{"fibonacci1", "mysql"}, nil},
		{" b , a ,, b,a, ", []string{"b", "a"}, nil},
		{`["b", " a", "b"]`, []string{"b", "a"}, nil},
		{"", nil, nil},
		{"[]", nil, nil},
		{"a,Mysql,other/b,b", []string{"a", "b"}, []string{`"Mysql" ` + label, `"other/b" ` + label}},
		{"f", nil, []string{`"f" is the function itself, which cannot wait for itself; it is left out`}},
		{`["a",1]`, nil, []string{`"[\"a\",1]" is neither a list with commas nor a JSON array of texts, of at most 100 entries; the list is empty`}},
		{`["a",null]`, nil, []string{`"[\"a\",null]" is neither a list with commas nor a JSON array of texts, of at most 100 entries; the list is empty`}},
	} {
		f, problems := read(on("sluice/DependsOn", c.value))
		if !slices.Equal(f.DependsOn, c.want) {
			t.Errorf("%s: got %q", c.value, f.DependsOn)
		}
		requireProblems(t, c.value, problems, c.problems...)
	}
	if f, problems := read(on("sluice/DependsOn", strings.Repeat("a,", 101))); len(problems) != 1 || len(f.DependsOn) > 0 {
		t.Errorf("101 entries: %v, %v", f.DependsOn, problems)
	}
}

func TestPathsStartWithVisibility(t *testing.T) {
	private, public := function.Private, function.Public
	for _, c := range []struct {
		value    string
		want     []function.PathRule
		problems []string
	}{
		{"Private:/admin,Public:/open", []function.PathRule{{Prefix: "/admin", Visibility: private}, {Prefix: "/open", Visibility: public}}, nil},
		{" private : admin , PUBLIC:open/ ", []function.PathRule{{Prefix: "/admin", Visibility: private}, {Prefix: "/open/", Visibility: public}}, nil},
		{`["Private:/a,b"]`, []function.PathRule{{Prefix: "/a,b", Visibility: private}}, nil},
		{"/open,a:/b", []function.PathRule{{Prefix: "/open", Visibility: public}, {Prefix: "/b", Visibility: private}},
			[]string{`"a:/b" begins with neither "Public:" nor "Private:"; it counts as Private`}},
		{"/x:y", []function.PathRule{{Prefix: "/x:y", Visibility: public}}, nil},
		{"Private:/my%20page,Private://a/../b", []function.PathRule{{Prefix: "/my page", Visibility: private}, {Prefix: "/b", Visibility: private}}, nil},
		{"Private:,Private:/", []function.PathRule{{Prefix: "/", Visibility: private}}, []string{`"Private:" has no path, as in Private:/admin; it is left out`}},
	} {
		f, problems := read(on("SlimFaas/PathsStartWithVisibility", c.value))
		if !slices.Equal(f.PathVisibility, c.want) {
			t.Errorf("%s: got %+v", c.value, f.PathVisibility)
		}
		requireProblems(t, c.value, problems, c.problems...)
	}
}

func TestSubscribeEvents(t *testing.T) {
	for _, c := range []struct {
		standard, value string
		want            []function.Subscription
		problems        []string
	}{
		{"Public", "Public:a,Private:b,c", []function.Subscription{{"a", "Public"}, {"b", "Private"}, {"c", "Public"}}, nil},
		{"Private", "Public:a,Private:b,c", []function.Subscription{{"a", "Public"}, {"b", "Private"}, {"c", "Private"}}, nil},
		{"Public", `["public: Fibo_Public-1"]`, []function.Subscription{{"Fibo_Public-1", "Public"}}, nil},
		{"Public", "Privat:a,b.c,,Public:", []function.Subscription{{"a", "Private"}}, []string{
			`"Privat:a" begins with neither "Public:" nor "Private:"; it counts as Private`,
			`"b.c" is no event: it must have 1 to 63 characters, of letters, digits, '-' and '_'; it is left out`,
			`"Public:" is no event: it must have 1 to 63 characters, of letters, digits, '-' and '_'; it is left out`}},
	} {
		f, problems := read(on("sluice/DefaultVisibility", c.standard, "sluice/SubscribeEvents", c.value))
		if !slices.Equal(f.SubscribeEvents, c.want) {
			t.Errorf("%s: got %+v", c.value, f.SubscribeEvents)
		}
		requireProblems(t, c.value, problems, c.problems...)
	}
}

func TestSubscribes(t *testing.T) {
	f, _ := read(on("sluice/SubscribeEvents", "Public:a,Private:b"))
	for _, c := range []struct {
		event        string
		inside, want bool
	}{{"a", false, true}, {"a", true, true}, {"b", false, false}, {"b", true, true}, {"A", true, false}, {"c", true, false}} {
		if got := f.Subscribes(c.event, c.inside); got != c.want {
			t.Errorf("%+v: got %v", c, got)
		}
	}
}
