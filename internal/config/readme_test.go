package config_test

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/devflowfix/devflowfix/internal/config"
)

// row is a line of the README's table of settings: name, what is without it,
// what it is.
var row = regexp.MustCompile("(?m)^\\| `([A-Z_]+)` \\| (.*?) ?\\| (.+) \\|$")

// TestTheREADMEHasEverySettingWithItsDefault holds the table to what a process
// reads: every setting and no other, those that a start asks for as required,
// and the defaults.
func TestTheREADMEHasEverySettingWithItsDefault(t *testing.T) {
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, missing := load(t)
	var told []string
	for _, r := range row.FindAllStringSubmatch(string(readme), -1) {
		name, without := r[1], r[2]
		told = append(told, name)
		if required := strings.Contains(missing, name+" is missing"); required != (without == "required") {
			t.Errorf("%s: the README says %q, and a start without it is complete: %t", name, without, !required)
		}
		preset, isSet := config.Preset(name)
		if isCode := strings.HasPrefix(without, "`") && name != "ADDR"; isSet != isCode || isSet && without != "`"+preset+"`" {
			t.Errorf("%s: without it there is %q, and not %q", name, preset, without)
		}
	}
	for _, name := range config.Names() {
		if !slices.Contains(told, name) {
			t.Errorf("the README lacks %s", name)
		}
	}
	for _, name := range told {
		if !slices.Contains(config.Names(), name) {
			t.Errorf("the README has %s, which is no setting", name)
		}
	}
	if len(told) != len(slices.Compact(slices.Sorted(slices.Values(told)))) {
		t.Error("the README has a setting twice")
	}
}
