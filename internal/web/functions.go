package web

import (
	"fmt"
	"html/template"
	"regexp"
	"strconv"
	"time"
)

// functions are what templates may call beside their data.
var functions = template.FuncMap{
	"static": staticURL,
	"ago":    ago,
	"took":   took,
	"plural": plural,
	"pick":   pick,
	"named":  named,
}

// when is a moment, as templates show it: relative, and exact on hover.
type when struct{ ISO, Exact, Relative string }

// ago tells how far a moment is from now; nil when there is none. It takes a
// time.Time or a *time.Time.
func ago(now time.Time, moment any) (*when, error) {
	var at time.Time
	switch m := moment.(type) {
	case time.Time:
		at = m
	case *time.Time:
		if m == nil {
			return nil, nil
		}
		at = *m
	default:
		return nil, fmt.Errorf("%T is no moment", moment)
	}
	if at.IsZero() {
		return nil, nil
	}
	at = at.UTC()
	return &when{ISO: at.Format(time.RFC3339), Exact: at.Format("2006-01-02 15:04:05") + " UTC", Relative: relative(now.Sub(at))}, nil
}

// relative names a distance in time in its largest unit. static/app.js does the
// same as time goes by.
func relative(past time.Duration) string {
	distance := past.Abs()
	if distance < 10*time.Second {
		return "just now"
	}
	text := ""
	switch {
	case distance < time.Minute:
		text = strconv.Itoa(int(distance.Seconds())) + " s"
	case distance < time.Hour:
		text = strconv.Itoa(int(distance.Minutes())) + " min"
	case distance < 48*time.Hour:
		text = strconv.Itoa(int(distance.Hours())) + " h"
	default:
		text = strconv.Itoa(int(distance.Hours()/24)) + " days"
	}
	if past < 0 {
		return "in " + text
	}
	return text + " ago"
}

// part is a piece of a text; the incident that it names, if it names one.
type part struct{ Text, Incident string }

var incidentID = regexp.MustCompile(`\binc_[0-9a-hjkmnp-tv-z]{26}\b`)

// named splits a text at the incidents that it names by their ids.
func named(text string) []part {
	var parts []part
	end := 0
	for _, at := range incidentID.FindAllStringIndex(text, -1) {
		if at[0] > end {
			parts = append(parts, part{Text: text[end:at[0]]})
		}
		id := text[at[0]:at[1]]
		parts, end = append(parts, part{Text: id, Incident: id}), at[1]
	}
	if end < len(text) {
		parts = append(parts, part{Text: text[end:]})
	}
	return parts
}

// took names a duration in milliseconds.
func took(ms any) string {
	n, err := strconv.ParseFloat(fmt.Sprint(ms), 64)
	switch {
	case err != nil:
		return ""
	case n < 1000:
		return strconv.Itoa(int(n)) + " ms"
	case n < 60_000:
		return strconv.FormatFloat(n/1000, 'f', 1, 64) + " s"
	default:
		return strconv.Itoa(int(n/60_000)) + " min"
	}
}

// plural counts things.
func plural(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return strconv.Itoa(n) + " " + many
}

// pick is what a template is given that needs more than one thing: names and
// values, one after the other.
func pick(pairs ...any) (map[string]any, error) {
	if len(pairs)%2 != 0 {
		return nil, fmt.Errorf("pick takes names with values")
	}
	picked := map[string]any{}
	for i := 0; i < len(pairs); i += 2 {
		name, ok := pairs[i].(string)
		if !ok {
			return nil, fmt.Errorf("%v is no name", pairs[i])
		}
		picked[name] = pairs[i+1]
	}
	return picked, nil
}
