package job

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Defaults and bounds of a definition.
const (
	standardStartDeadline = 600
	standardMaxTTL        = 86400
	standardMaxBackoff    = 6
	standardTailLines     = 10_000
	standardMaxBytes      = 10 << 20

	maxSeconds   = 365 * 24 * 3600
	maxParallel  = 100_000
	maxTailLines = 1_000_000
	maxLogBytes  = 1 << 30
	maxPatterns  = 100
	maxRetries   = 1_000_000
)

// defaults is a definition of which nothing is said.
func defaults(name, source string) Definition {
	return Definition{
		Name: name, Source: source, Visibility: Private, Parallel: 1, StartDeadline: standardStartDeadline,
		Overrides: Overrides{OnExceed: Reject, MaxTTL: standardMaxTTL, MaxBackoffLimit: standardMaxBackoff},
		Logs:      Logs{Save: "Always", TailLines: standardTailLines, MaxBytes: standardMaxBytes},
	}
}

// policy is what the annotation JobPolicy says, on top of the other annotations.
type policy struct {
	definition    Definition
	mainContainer string
}

// readPolicy reads the annotation into p, and returns sentences about what is wrong with it, each with its line. What is wrong leaves p as it was.
func (p *policy) read(text string) (problems []string) {
	converted, lines, err := parseYAML(text)
	if err != nil {
		return []string{"is no valid YAML: " + err.Error()}
	}
	var r reading
	r.object(p.keys(&r)...)("", converted)
	for _, f := range append(r.wrong, r.unknown...) {
		sentence := f.String()
		if line := lines[strings.ToLower(f.path)]; line > 0 {
			sentence = fmt.Sprintf("line %d: %s", line, sentence)
		}
		problems = append(problems, sentence)
	}
	return problems
}

func (p *policy) keys(r *reading) []key {
	d := &p.definition
	keys := []key{
		{name: "visibility", read: r.word((*string)(&d.Visibility), string(Public), string(Private))},
		{name: "dependsOn", read: r.texts(&d.DependsOn, maxDependsOn, checkDependency)},
		{name: "concurrency", read: r.object(append(later("maxQueued", "key", "policy"), key{name: "maxRunning", read: r.into(&d.Parallel, 1, maxParallel)})...)},
		{name: "queueDeadlineSeconds", read: r.into(&d.QueueDeadline, 0, maxSeconds)},
		{name: "startDeadlineSeconds", read: r.into(&d.StartDeadline, 0, maxSeconds)},
		{name: "overrides", read: r.object(append(later("template"), d.Overrides.keys(r)...)...)},
		{name: "mainContainer", read: r.text(&p.mainContainer, nil)},
		{name: "logs", read: r.object(append(later("follow"), d.Logs.keys(r)...)...)},
	}
	keys = append(keys, later("dependencyTimeoutSeconds", "wakeDependencies", "retry", "schedules", "runOnStartup", "successfulRunsHistoryLimit", "failedRunsHistoryLimit",
		"perNode", "callback", "metrics", "reports", "headlessService", "onSuccess", "onFailure")...)
	return append(keys, elsewhere()...)
}

func (o *Overrides) keys(r *reading) []key {
	return []key{
		{name: "allow", read: r.texts(&o.Allow, maxPatterns, checkAllowable)},
		{name: "images", read: r.texts(&o.Images, maxPatterns, checkImagePattern)},
		{name: "onExceed", read: r.word((*string)(&o.OnExceed), string(Reject), string(Clamp))},
		{name: "maxTtlSecondsAfterFinished", read: r.into(&o.MaxTTL, 0, maxSeconds)},
		{name: "maxBackoffLimit", read: r.into(&o.MaxBackoffLimit, 0, maxRetries)},
		{name: "reservedEnv", read: r.texts(&o.ReservedEnv, maxPatterns, checkEnvPattern)},
	}
}

func (l *Logs) keys(r *reading) []key {
	return []key{
		{name: "save", read: r.word(&l.Save, "Always", "OnFailure", "Never")},
		{name: "tailLines", read: r.into(&l.TailLines, 1, maxTailLines)},
		{name: "maxBytes", read: r.number(func(n int) { l.MaxBytes = int64(n) }, 1, maxLogBytes)},
	}
}

func (r *reading) into(target *int, least, greatest int) read {
	return r.number(func(n int) { *target = n }, least, greatest)
}

// later are keys of what is not there yet.
func later(names ...string) (keys []key) {
	for _, name := range names {
		keys = append(keys, key{name: name, refused: "is not supported yet: leave it out"})
	}
	return keys
}

// elsewhere are keys of Kubernetes, which a policy has no second place for.
func elsewhere() (keys []key) {
	for _, name := range []string{
		"image", "imagePullPolicy", "command", "args", "workingDir", "env", "envFrom", "resources", "volumeMounts", "securityContext", "initContainers", "volumes",
		"serviceAccountName", "imagePullSecrets", "nodeSelector", "affinity", "tolerations", "topologySpreadConstraints", "priorityClassName", "restartPolicy",
		"terminationGracePeriodSeconds", "template", "parallelism", "completions", "completionMode", "backoffLimit", "backoffLimitPerIndex", "maxFailedIndexes",
		"activeDeadlineSeconds", "ttlSecondsAfterFinished", "podFailurePolicy", "successPolicy", "podReplacementPolicy", "suspend", "managedBy",
	} {
		keys = append(keys, key{name: name, refused: "is in the wrong place: spec.jobTemplate of the CronJob is right"})
	}
	return keys
}

func checkAllowable(field string) error {
	if !slices.Contains(allowable(), field) {
		return errors.New("is nothing that a request can change: right is one of " + strings.Join(allowable(), ", "))
	}
	return nil
}

func checkImagePattern(pattern string) error {
	if checkImage(strings.ReplaceAll(pattern, "*", "x")) != nil {
		return errors.New("is no pattern for images: one such as example/batch:* is right")
	}
	return nil
}

func checkEnvPattern(pattern string) error {
	if checkVariableName(strings.ReplaceAll(pattern, "*", "_")) != nil {
		return errors.New("is no pattern for names of variables: one such as DB_* is right")
	}
	return nil
}
