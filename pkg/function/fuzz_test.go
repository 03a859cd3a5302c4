package function_test

import (
	"math"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sluicefaas/sluice/pkg/function"
	"github.com/sluicefaas/sluice/pkg/schedule"
)

func FuzzFromAnnotations(f *testing.F) {
	f.Add("f", "ReplicasMin", "-1", "Configuration", `{"DefaultAsync":{"TimeoutRetries":[1,2],"HttpStatusRetries":[500]}}`)
	f.Add("f", "ReplicasAtStart", "99999999999999999999", "NumberParallelRequest", "1e3")
	f.Add("a.b", "Replicas", "", "DefaultVisibility", "PRIVATE")
	f.Add("f", "Configuration", `{"DefaultSync":{"HttpTimeout":1,"httptimeout":null}}`, "TimeoutSecondBeforeSetReplicasMin", "\x00")
	f.Fuzz(func(t *testing.T, name, key, value, templateKey, templateValue string) {
		workload := map[string]string{"sluice/Function": "true", "SlimFaas/" + key: value}
		template := map[string]string{"sluice/" + templateKey: templateValue}
		got, isFunction, problems := function.FromAnnotations(name, function.KindDeployment, function.Annotations{Workload: workload, Template: template}, nil)
		for _, problem := range problems {
			_, own := workload[problem.Key]
			_, inherited := template[problem.Key]
			if !own && !inherited || !strings.Contains(problem.String(), problem.Key) {
				t.Fatalf("problem names no annotation: %v", problem)
			}
		}
		if isFunction {
			requireInRange(t, got)
		}
	})
}

// FuzzAgain: two annotations of a function that was read from two others before.
func FuzzAgain(f *testing.F) {
	for key, values := range samples {
		f.Add(key, values[0], values[len(values)-1], "DefaultVisibility", "Private")
	}
	f.Fuzz(func(t *testing.T, key, value, then, secondKey, second string) {
		before, _ := read(on("sluice/"+key, value, "sluice/"+secondKey, second))
		requireFixedPoint(t, on("sluice/"+key, then, "SlimFaas/"+secondKey, second), &before)
		requireFixedPoint(t, on("sluice/"+key, then), nil)
	})
}

func requireInRange(t *testing.T, f function.Function) {
	t.Helper()
	err := function.ValidName(f.Name)
	ok := err == nil && f.ReplicasMin >= 0 && f.ReplicasMin <= function.MaxReplicas && f.ReplicasAtStart >= 1 && f.ReplicasAtStart <= function.MaxReplicas &&
		f.IdleTimeout() >= 0 && f.NumberParallelRequest >= 1 && f.NumberParallelRequestPerPod >= 0 &&
		(f.DefaultVisibility == function.Public || f.DefaultVisibility == function.Private)
	ok = ok && (f.DefaultTrust == function.Trusted || f.DefaultTrust == function.Untrusted) && (f.Protocol == "" || f.Protocol == function.ProtocolH2C) && listsInRange(f)
	for _, p := range []function.Policy{f.Configuration.DefaultSync, f.Configuration.DefaultAsync, f.Configuration.DefaultPublish} {
		ok = ok && p.Timeout() > 0 && p.HTTPTimeout <= 86400 && len(p.TimeoutRetries) <= 100 && len(p.HTTPStatusRetries) <= 100
		for _, delay := range p.TimeoutRetries {
			ok = ok && delay >= 0 && delay <= 86400
		}
		for _, status := range p.HTTPStatusRetries {
			ok = ok && status >= 400 && status <= 599
		}
	}
	if !ok {
		t.Fatalf("out of range: %+v", f)
	}
}

func listsInRange(f function.Function) bool {
	ok := len(f.DependsOn) <= 100 && !slices.Contains(f.DependsOn, f.Name) && len(f.PathVisibility) <= 100 && len(f.SubscribeEvents) <= 100
	for _, name := range f.DependsOn {
		ok = ok && function.ValidName(name) == nil
	}
	for _, rule := range f.PathVisibility {
		ok = ok && strings.HasPrefix(rule.Prefix, "/") && (rule.Visibility == private || rule.Visibility == public)
	}
	for _, s := range f.SubscribeEvents {
		ok = ok && event.MatchString(s.Event) && (s.Visibility == private || s.Visibility == public)
	}
	return ok && scaleInRange(f.Scale) && scheduleInRange(f.Schedule)
}

func scaleInRange(s *function.Scale) bool {
	if s == nil {
		return true
	}
	ok := s.ReplicaMax >= 1 && s.ReplicaMax <= function.MaxReplicas && s.ScrapeInterval() >= time.Second && s.ScrapeInterval() <= 5*time.Minute && len(s.Triggers) > 0
	for _, trigger := range s.Triggers {
		ok = ok && trigger.Threshold > 0 && !math.IsInf(trigger.Threshold, 0) && (trigger.Query != "" || slices.Contains([]string{"queue_depth", "queue_age", "calls_inflight"}, trigger.MetricName))
	}
	for _, rules := range []function.ScaleRules{s.Behavior.ScaleUp, s.Behavior.ScaleDown} {
		ok = ok && rules.StabilizationWindowSeconds >= 0 && rules.StabilizationWindowSeconds <= 3600 && len(rules.Policies) > 0
		for _, p := range rules.Policies {
			ok = ok && p.Value > 0 && p.PeriodSeconds > 0 && (p.Type == function.PolicyPercent || p.Type == function.PolicyPods)
		}
	}
	return ok
}

func scheduleInRange(s *schedule.Schedule) bool {
	if s == nil {
		return true
	}
	now := time.Unix(1774746000, 0)
	_, woken := s.LatestWakeUp(now)
	timeout, timed := s.IdleTimeout(now)
	return woken == (len(s.WakeUp) > 0) && timed == (len(s.ScaleDownTimeout) > 0) && timeout >= 0
}

var event = regexp.MustCompile(`\A[A-Za-z0-9_-]{1,63}\z`)

var label = regexp.MustCompile(`\A[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\z`)

func FuzzValidName(f *testing.F) {
	for _, name := range []string{"a", "-", "a.b", "fibonacci1", "a\n", strings.Repeat("a", 64)} {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, name string) {
		if valid := function.ValidName(name) == nil; valid != label.MatchString(name) {
			t.Fatalf("%q: valid is %v", name, valid)
		}
	})
}
