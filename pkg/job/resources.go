package job

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/api/resource"
)

// amounts are requests or limits, as they are written, by the name of the resource.
type amounts = map[string]string

// resources are compared with the definition's, for requests and limits by themselves: its values are both what holds without a request and the most that there is.
func (m *merger) resources() error {
	if len(m.asked.requests)+len(m.asked.limits) == 0 {
		return nil
	}
	own, err := child(m.container, fieldResources)
	if err != nil {
		return refuse(ReasonInvalidRequest, "definition", "%s cannot be run as it is: its resources are no object", m.definition.Name)
	}
	ownRequests, ownLimits := amountsOf(own, "requests"), amountsOf(own, "limits")
	requests, err := m.withinCeiling("requests", m.asked.requests, withLimits(ownRequests, ownLimits))
	if err != nil {
		return err
	}
	limits, err := m.withinCeiling("limits", m.asked.limits, ownLimits)
	if err != nil {
		return err
	}
	merged := pair{requests: overlay(ownRequests, requests), limits: overlay(ownLimits, limits), asked: [2]amounts{requests, limits}}
	if err := m.agree(merged); err != nil {
		return err
	}
	own = maps.Clone(own)
	set(own, "requests", merged.requests, len(merged.requests) == 0)
	set(own, "limits", merged.limits, len(merged.limits) == 0)
	m.container[fieldResources] = own
	return nil
}

// pair are the requests and limits that come out, with those that were asked for.
type pair struct {
	requests, limits amounts
	asked            [2]amounts
}

// amountsOf reads amounts that may be written as numbers.
func amountsOf(parent tree, key string) amounts {
	found := textsOf(parent, key)
	object, _ := parent[key].(tree)
	for name := range object {
		if n, ok := object[name].(json.Number); ok {
			found[name] = n.String()
		}
	}
	return found
}

// withLimits adds what Kubernetes takes for a request that is not there: the limit.
func withLimits(requests, limits amounts) amounts { return overlay(limits, requests) }

func overlay(under, over amounts) amounts {
	merged := maps.Clone(under)
	maps.Copy(merged, over)
	return merged
}

// withinCeiling returns what of the amounts holds.
func (m *merger) withinCeiling(kind string, asked, ceiling amounts) (amounts, error) {
	held := amounts{}
	for _, name := range slices.Sorted(maps.Keys(asked)) {
		field := fieldResources + "." + kind + "." + name
		amount, err := parseQuantity(asked[name])
		if err == nil {
			err = checkWholes(name, amount)
		}
		if err != nil {
			return nil, refuse(ReasonInvalidRequest, field, "%s %v", quote(asked[name]), err)
		}
		most, err := m.ceiling(field, ceiling[name])
		if err != nil {
			return nil, err
		}
		clamps := m.definition.Overrides.OnExceed == Clamp
		switch {
		case most == nil && clamps:
			m.warn("%s: %s is left out: the definition has no such resource", field, quote(asked[name]))
		case most == nil:
			return nil, refuse(ReasonResourcesExceeded, field, "%s is not in the definition: %s", quote(asked[name]), known(ceiling))
		case amount.Cmp(*most) > 0 && clamps:
			m.warn("%s: %s is above the limit of the definition, %s, which holds", field, quote(asked[name]), most)
			held[name] = ceiling[name]
		case amount.Cmp(*most) > 0:
			return nil, refuse(ReasonResourcesExceeded, field, "%s is above the limit of the definition: at most %s is right", quote(asked[name]), most)
		default:
			held[name] = asked[name]
		}
	}
	return held, nil
}

// ceiling is the most that there is of a resource, nil if there is none.
func (m *merger) ceiling(field, amount string) (*resource.Quantity, error) {
	if amount == "" {
		return nil, nil
	}
	q, err := parseQuantity(amount)
	if err != nil {
		return nil, refuse(ReasonInvalidRequest, "definition", "%s cannot be run as it is: %s %s %v", m.definition.Name, field, quote(amount), err)
	}
	return &q, nil
}

func known(ceiling amounts) string {
	if len(ceiling) == 0 {
		return "none can be asked for"
	}
	return "right is one of " + strings.Join(slices.Sorted(maps.Keys(ceiling)), ", ")
}

// agree makes requests no more than limits, as Kubernetes wants them, and equal where there are only whole ones. What was asked for moves what was not.
func (m *merger) agree(p pair) error {
	for _, name := range slices.Sorted(maps.Keys(p.limits)) {
		request, found := p.requests[name]
		if !found {
			continue
		}
		less, err := lower(request, p.limits[name])
		if err != nil {
			return refuse(ReasonInvalidRequest, "definition", "%s cannot be run as it is: %v", m.definition.Name, err)
		}
		field := fieldResources + ".requests." + name
		askedRequest, askedLimit := p.asked[0][name] != "", p.asked[1][name] != ""
		switch {
		case less == 0, less < 0 && !asWholes(name):
		case less < 0 && askedRequest && !askedLimit:
			p.limits[name] = request
		case askedRequest && askedLimit && m.definition.Overrides.OnExceed != Clamp:
			return refuse(ReasonInvalidRequest, field, "%s does not go with the limit %s: %s", quote(request), p.limits[name], fitting(name))
		default:
			if askedRequest {
				m.warn("%s: %s does not go with the limit %s, which holds for both", field, quote(request), p.limits[name])
			}
			p.requests[name] = p.limits[name]
		}
	}
	return nil
}

func fitting(name string) string {
	if asWholes(name) {
		return "the same amount is right"
	}
	return "at most the limit is right"
}

// lower compares two amounts: below 0 if the first one is less.
func lower(a, b string) (int, error) {
	first, err := parseQuantity(a)
	if err != nil {
		return 0, err
	}
	second, err := parseQuantity(b)
	return first.Cmp(second), err
}
