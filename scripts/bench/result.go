package main

import (
	"context"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"time"
)

// side is one of those that are compared: measure makes one round of it.
type side struct {
	name    string
	measure func(ctx context.Context, round int) (figure, error)
}

// figure is what one round found.
type figure struct {
	rate float64 // per second
	cpu  float64 // µs of processor time for each, by the process that is measured; 0 if it is not known
	note string
}

func (f figure) String() string {
	text := fmt.Sprintf("%10.0f/s", f.rate)
	if f.cpu > 0 {
		text += fmt.Sprintf("  %.1f µs CPU", f.cpu)
	}
	return text + "  " + f.note
}

// inTurn measures the sides one after the other, round by round, and prints each raw figure. The result has one list of
// rounds for each side.
func (b *bench) inTurn(ctx context.Context, what string, sides ...side) ([][]figure, error) {
	fmt.Printf("%s\n", what)
	figures := make([][]figure, len(sides))
	for round := range b.settings.rounds {
		for i, s := range sides {
			f, err := s.measure(ctx, round)
			if err != nil {
				return nil, fmt.Errorf("%s, %s: %w", what, s.name, err)
			}
			figures[i] = append(figures[i], f)
			fmt.Printf("  round %d  %-8s %v\n", round+1, s.name, f)
		}
	}
	return figures, nil
}

// result is one line of the table.
type result struct {
	what            string
	subject         string
	baseline, value string
	hold, held      string
}

// addRatio adds a line about rates: the median of the rounds' own ratios, because the two sides of a round ran next to
// each other. hold is 0 for a figure that is only for the record.
func (b *bench) addRatio(what string, subject, baseline []figure, hold float64) {
	ratios := make([]float64, len(subject))
	for i := range subject {
		ratios[i] = subject[i].rate / baseline[i].rate
	}
	ratio := quantile(ratios, 0.5)
	r := result{what: what, subject: rate(subject), baseline: rate(baseline), value: fmt.Sprintf("%.2f", ratio)}
	if hold > 0 {
		r.hold, r.held = fmt.Sprintf("≥ %.2f", hold), yes(ratio >= hold)
	}
	b.results = append(b.results, r)
	fmt.Printf("  ratio %.2f, by round %.2f\n", ratio, ratios)
}

// addBeyond adds a line about times: what subject takes beyond baseline, run by run.
func (b *bench) addBeyond(what string, subject, baseline []float64, hold float64) {
	beyond := make([]float64, len(subject))
	for i := range subject {
		beyond[i] = subject[i] - baseline[i]
	}
	p50 := quantile(beyond, 0.5)
	b.results = append(b.results, result{
		what: what, subject: millis(subject), baseline: millis(baseline),
		value: fmt.Sprintf("+ %.1f ms p50, + %.1f ms p99", p50, quantile(beyond, 0.99)),
		hold:  fmt.Sprintf("+ ≤ %.0f ms p50", hold), held: yes(p50 <= hold),
	})
	fmt.Printf("  %s: beyond, ms, sorted %.1f\n", what, slices.Sorted(slices.Values(beyond)))
}

// rate is the median of the rounds, with the processor time where it is known.
func rate(rounds []figure) string {
	rates, cpu := make([]float64, len(rounds)), make([]float64, len(rounds))
	for i, f := range rounds {
		rates[i], cpu[i] = f.rate, f.cpu
	}
	text := fmt.Sprintf("%.0f/s", quantile(rates, 0.5))
	if used := quantile(cpu, 0.5); used > 0 {
		text += fmt.Sprintf(", %.0f µs CPU", used)
	}
	return text
}

func millis(runs []float64) string { return fmt.Sprintf("%.1f ms", quantile(runs, 0.5)) }

func yes(held bool) string {
	if held {
		return "yes"
	}
	return "**no**"
}

// quantile is the value at q of the sorted figures, between two of them if need be.
func quantile(figures []float64, q float64) float64 {
	sorted := slices.Sorted(slices.Values(figures))
	if len(sorted) == 0 {
		return math.NaN()
	}
	at := q * float64(len(sorted)-1)
	low := int(at)
	high := min(low+1, len(sorted)-1)
	return sorted[low] + (at-float64(low))*(sorted[high]-sorted[low])
}

// printTable writes everything that was found as Markdown.
func (b *bench) printTable(out io.Writer) {
	var text strings.Builder
	text.WriteString("| what | sluice | baseline | ratio or difference | hold | held |\n|---|---|---|---|---|---|\n")
	for _, r := range b.results {
		fmt.Fprintf(&text, "| %s | %s | %s | %s | %s | %s |\n", r.what, r.subject, r.baseline, r.value, r.hold, r.held)
	}
	for _, why := range b.skipped {
		fmt.Fprintf(&text, "\nSkipped: %s\n", why)
	}
	_, _ = fmt.Fprint(out, text.String()) // nobody to tell
}

// window is how long load lasts in one round.
func (b *bench) window() time.Duration {
	return time.Duration(b.settings.seconds * float64(time.Second))
}
