package arch_test

import (
	"encoding/json"
	"go/ast"
	"go/token"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/sluicefaas/sluice/pkg/job"
)

// docs/jobs.md has every annotation, key of a policy and key of a request that is read. What is known is asked of the code itself, with a key that is not.
func TestJobKeysAreDocumented(t *testing.T) {
	doc := readDoc(t, "docs/jobs.md")
	d, _ := job.FromCronJob(suspended(map[string]string{
		"sluice/Job": "true", "sluice/Nobody": "x",
		"sluice/JobPolicy": `{nobody: 1, overrides: {nobody: 1}, logs: {nobody: 1}, concurrency: {nobody: 1, maxRunning: 1}}`,
	}), nil)
	run := job.Accept(d, job.Message{Definition: d.Name, RunID: "r", Body: []byte(`{"nobody":1}`)}, time.Now())
	asked := 0
	for _, sentence := range append(d.Problems, run.Warnings...) {
		_, known, found := strings.Cut(sentence, "known are ")
		if !found {
			continue
		}
		asked++
		known, _, _ = strings.Cut(known, ";")
		for name := range strings.SplitSeq(known, ", ") {
			if !regexp.MustCompile(`\b` + regexp.QuoteMeta(name) + `\b`).MatchString(doc) {
				t.Errorf("docs/jobs.md lacks the key %s", name)
			}
		}
	}
	if asked != 6 {
		t.Errorf("keys were told of %d objects, want those of the annotations, the policy with three objects in it, and a request: %q %q", asked, d.Problems, run.Warnings)
	}
}

// docs/jobs.md has every phase that callers see, and every reason that we give ourselves.
func TestJobPhasesAndReasonsAreDocumented(t *testing.T) {
	doc := readDoc(t, "docs/jobs.md")
	sources, err := readSources(os.DirFS("."))
	if err != nil {
		t.Fatal(err)
	}
	words := slices.Concat(
		constants(sources, "pkg/job", func(name string, kind ast.Expr) bool {
			named, ok := kind.(*ast.Ident)
			return strings.HasPrefix(name, "Reason") || ok && named.Name == "Phase"
		}),
		constants(sources, "services/jobrunner", func(name string, _ ast.Expr) bool { return strings.HasPrefix(name, "reason") }),
		constants(sources, "services/jobrunner/kube", func(name string, _ ast.Expr) bool {
			return slices.Contains([]string{"podQuotaExceeded", "podsForbidden", "serviceAccountNotFound", "reasonFailedCreate", "containerCreating"}, name)
		}),
	)
	const least = 45
	if len(words) < least {
		t.Fatalf("only %d words were found: %q", len(words), words)
	}
	for _, word := range words {
		if word != "" && !strings.Contains(doc, "`"+word+"`") {
			t.Errorf("docs/jobs.md lacks %s", word)
		}
	}
}

// Every policy in docs/jobs.md is right, and one that leaves nothing out has the defaults but for what it is said to have instead.
func TestJobPoliciesInDocsAreRight(t *testing.T) {
	var whole job.Definition
	blocks := regexp.MustCompile("(?s)```yaml\nsluice/JobPolicy: \\|\n(.*?)```").FindAllStringSubmatch(readDoc(t, "docs/jobs.md"), -1)
	for _, block := range blocks {
		d, isJob := job.FromCronJob(suspended(map[string]string{"sluice/Job": "true", "sluice/JobPolicy": block[1]}), nil)
		if !isJob || len(d.Problems) > 0 {
			t.Errorf("%s\nis wrong: %q", block[1], d.Problems)
		}
		whole = d
	}
	plain, _ := job.FromCronJob(suspended(map[string]string{"sluice/Job": "true"}), nil)
	slices.Sort(whole.Overrides.Allow)
	plain.Overrides.Allow = slices.Sorted(slices.Values(job.DefaultAllow()))
	plain.QueueDeadline, plain.Overrides.Images, plain.Overrides.ReservedEnv, plain.Generation = 3600, []string{"example/fibonacci-batch:*"}, []string{"DB_*"}, whole.Generation
	got, want := asJSON(t, whole), asJSON(t, plain)
	if got != want {
		t.Errorf("the policy in docs/jobs.md makes\n%s\nthe defaults are\n%s", got, want)
	}
}

// suspended is a CronJob with these annotations.
func suspended(annotations map[string]string) job.CronJob {
	template := `{"spec":{"template":{"spec":{"restartPolicy":"Never","containers":[{"name":"fibonacci","image":"example/fibonacci-batch"}]}}}}`
	return job.CronJob{Name: "fibonacci", Annotations: annotations, Suspended: true, Template: json.RawMessage(template)}
}

func asJSON(t *testing.T, value any) string {
	t.Helper()
	text, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func readDoc(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// constants are the texts of the constants of a package that fit, by name and type.
func constants(sources []source, dir string, fits func(name string, kind ast.Expr) bool) (found []string) {
	for _, s := range sources {
		if s.dir != dir || s.test {
			continue
		}
		for _, declaration := range s.file.Decls {
			if group, ok := declaration.(*ast.GenDecl); ok && group.Tok == token.CONST {
				found = append(found, textsOf(group, fits)...)
			}
		}
	}
	return found
}

func textsOf(group *ast.GenDecl, fits func(name string, kind ast.Expr) bool) (texts []string) {
	for _, spec := range group.Specs {
		constant, ok := spec.(*ast.ValueSpec)
		if !ok || len(constant.Names) != 1 || len(constant.Values) != 1 || !fits(constant.Names[0].Name, constant.Type) {
			continue
		}
		if literal, ok := constant.Values[0].(*ast.BasicLit); ok && literal.Kind == token.STRING {
			if text, err := strconv.Unquote(literal.Value); err == nil {
				texts = append(texts, text)
			}
		}
	}
	return texts
}
