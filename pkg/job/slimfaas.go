package job

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"unicode"
)

// SourceSlimFaas is the Source of definitions in SlimFaas's own form.
const SourceSlimFaas = "SLIMFAAS_JOBS_CONFIGURATION"

// Defaults of SlimFaas (SlimFaas, src/SlimFaas/Kubernetes/Models/CreateJob.cs and Jobs/JobConfiguration.cs).
const (
	slimFaasDefault = "default"
	slimFaasBackoff = 1
	slimFaasTTL     = 60
	slimFaasCPU     = "100m"
	slimFaasMemory  = "100Mi"
	maxDefinitions  = 10_000
)

// FromSlimFaas reads SLIMFAAS_JOBS_CONFIGURATION, by name. The error says what keeps it from being read at all; the warnings are sentences about what in it has no effect,
// which the definitions have as Problems too. There is always a definition "default", which stands for every name without one, unless the text is empty.
func FromSlimFaas(text string) (definitions []Definition, warnings []string, err error) {
	text = spaced(text)
	if strings.TrimSpace(text) == "" {
		return nil, nil, nil
	}
	if err := checkJSON(text); err != nil {
		return nil, nil, fmt.Errorf("read %s: %w", SourceSlimFaas, err)
	}
	c := slimFaasReader{found: map[string]Definition{}}
	c.document.object(
		key{name: "Configurations", read: c.document.each(maxDefinitions, func(name string) read {
			return func(path string, value json.RawMessage) { c.define(name, path, value) }
		})},
		key{name: "Schedules", read: func(path string, value json.RawMessage) {
			c.warnings = append(c.warnings, path+": "+shortJSON(value)+" is ignored: schedules come later")
		}},
	)("", json.RawMessage(text))
	if len(c.document.wrong) > 0 {
		return nil, nil, fmt.Errorf("read %s: %s", SourceSlimFaas, strings.TrimPrefix(c.document.wrong[0].String(), ": "))
	}
	for _, f := range c.document.unknown {
		c.warnings = append(c.warnings, f.String()+"; it is ignored")
	}
	if _, ok := c.found[slimFaasDefault]; !ok {
		c.define(slimFaasDefault, "", json.RawMessage("{}"))
	}
	for _, name := range slices.Sorted(maps.Keys(c.found)) {
		definitions = append(definitions, c.found[name])
	}
	return definitions, c.warnings, nil
}

// spaced makes every space outside of texts one that JSON knows, because SlimFaas takes any.
func spaced(text string) string {
	inText, escaped := false, false
	return strings.Map(func(c rune) rune {
		switch {
		case !inText && c != '\n' && unicode.IsSpace(c):
			return ' '
		case escaped:
			escaped = false
		case c == '\\':
			escaped = inText
		case c == '"':
			inText = !inText
		}
		return c
	}, strings.TrimPrefix(text, "\ufeff"))
}

func checkJSON(text string) error {
	var whole json.RawMessage
	err := json.Unmarshal([]byte(text), &whole)
	if syntax := new(json.SyntaxError); errors.As(err, &syntax) {
		return fmt.Errorf("line %d: it is no JSON: %w", 1+strings.Count(text[:min(len(text), int(syntax.Offset))], "\n"), err)
	}
	return err
}

// slimFaasReader collects the definitions by their names.
type slimFaasReader struct {
	document reading
	found    map[string]Definition
	warnings []string
}

// define reads one definition. A name has its own letters as an alias where a DNS label cannot have them.
func (c *slimFaasReader) define(written, path string, value json.RawMessage) {
	name := labelOf(written)
	if err := ValidName(name); err != nil {
		c.warnings = append(c.warnings, path+": "+err.Error()+"; the job is left out")
		return
	}
	if _, twice := c.found[name]; twice {
		c.warnings = append(c.warnings, path+": there is a job "+name+" already; this one is left out")
		return
	}
	job := slimFaasJob{
		definition:   defaults(name, SourceSlimFaas),
		backoffLimit: slimFaasBackoff, ttl: slimFaasTTL, restartPolicy: "Never",
	}
	if lower := strings.ToLower(written); lower != name {
		job.definition.Aliases = []string{lower}
	}
	problems := job.read(path, value)
	c.warnings = append(c.warnings, problems...)
	job.definition.Problems = boundSentences(problems)
	c.found[name] = job.finish()
}

// slimFaasJob is one of Configurations.
type slimFaasJob struct {
	definition           Definition
	image, restartPolicy string
	env                  []variable
	requests, limits     amounts
	backoffLimit, ttl    int
}

// read returns sentences about what has no effect.
func (j *slimFaasJob) read(path string, value json.RawMessage) (problems []string) {
	var r reading
	d := &j.definition
	r.object(
		key{name: "Image", read: r.text(&j.image, checkOwnImage)},
		key{name: "ImagesWhitelist", read: r.texts(&d.Overrides.Images, maxPatterns, checkImagePattern)},
		key{name: "Resources", read: r.object(key{name: "Requests", read: r.quantities(&j.requests)}, key{name: "Limits", read: r.quantities(&j.limits)})},
		key{name: "DependsOn", read: r.texts(&d.DependsOn, maxDependsOn, checkDependency)},
		key{name: "Environments", read: r.variables(&j.env)},
		key{name: "BackoffLimit", read: r.into(&j.backoffLimit, 0, math.MaxInt32)},
		key{name: "Visibility", read: r.word((*string)(&d.Visibility), string(Public), string(Private))},
		key{name: "NumberParallelJob", read: r.into(&d.Parallel, 1, maxParallel)},
		key{name: "TtlSecondsAfterFinished", read: r.into(&j.ttl, 0, math.MaxInt32)},
		key{name: "RestartPolicy", read: r.word(&j.restartPolicy, "Never", "OnFailure")},
	)(path, value)
	for _, f := range append(r.wrong, r.unknown...) {
		problems = append(problems, f.String()+"; it is ignored")
	}
	return problems
}

func checkOwnImage(image string) error {
	if image == "" {
		return nil
	}
	return checkImage(image)
}

// finish is the definition with its template.
func (j *slimFaasJob) finish() Definition {
	d := j.definition
	d.Overrides.OnExceed = Clamp
	d.Fallback = d.Name == slimFaasDefault
	if d.Fallback && len(j.requests)+len(j.limits) == 0 {
		j.requests = amounts{"cpu": slimFaasCPU, "memory": slimFaasMemory}
		j.limits = maps.Clone(j.requests)
	}
	written, err := json.Marshal(tree{"spec": tree{
		fieldBackoffLimit: j.backoffLimit, fieldTTL: j.ttl,
		"template": tree{"spec": tree{fieldRestartPolicy: j.restartPolicy, "containers": []tree{j.container()}}},
	}})
	if err == nil { // texts and numbers can always be written
		d.Template = written
	}
	return d.withGeneration()
}

func (j *slimFaasJob) container() tree {
	container := tree{"name": j.definition.Name}
	var env, from, resources = []tree{}, []tree{}, tree{}
	for _, v := range j.env {
		if v.source != nil {
			from = append(from, v.source)
			continue
		}
		env = withVariable(env, v.entry())
	}
	set(resources, "requests", j.requests, len(j.requests) == 0)
	set(resources, "limits", j.limits, len(j.limits) == 0)
	set(container, "image", j.image, j.image == "")
	set(container, fieldEnv, env, len(env) == 0)
	set(container, fieldEnvFrom, from, len(from) == 0)
	set(container, fieldResources, resources, len(resources) == 0)
	return container
}
