package evidence_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/devflowfix/devflowfix/internal/evidence"
)

// Owners are found by the path of a file, and Go names only its last part.
func TestAFileThatGoNamesIsPlacedByItsPackage(t *testing.T) {
	t.Parallel()
	for importPath, want := range map[string]string{
		"github.com/acme/shop/internal/pay":    "internal/pay/pay_test.go",
		"github.com/acme/shop/v3/internal/pay": "internal/pay/pay_test.go",
		"github.com/acme/shop":                 "pay_test.go",
		"go.acme.dev/shop/pay":                 "pay/pay_test.go",
		"shop/internal/pay":                    "internal/pay/pay_test.go",
		"":                                     "pay_test.go",
	} {
		log := "--- FAIL: TestPay (0.00s)\n    pay_test.go:7: got 1, want 2\nFAIL\nFAIL\t" + importPath + "\t0.1s\n"
		e, err := evidence.Explain(strings.NewReader(log), nil, evidence.Options{Job: "test"})
		if err != nil || !slices.Equal(e.Files, []string{want}) {
			t.Errorf("of package %q: files %q, %v; want %s", importPath, e.Files, err, want)
		}
	}
}

func TestTheFolderOfATestIsNoPartOfItsFingerprint(t *testing.T) {
	t.Parallel()
	var prints []string
	for _, end := range []string{"", "FAIL\tgithub.com/acme/shop/pay\t0.1s\n"} {
		e, err := evidence.Explain(strings.NewReader("--- FAIL: TestPay (0.00s)\n    pay_test.go:7: got 1, want 2\nFAIL\n"+end), nil, evidence.Options{Job: "test"})
		if err != nil {
			t.Fatal(err)
		}
		prints = append(prints, e.Fingerprint)
	}
	if prints[0] != prints[1] {
		t.Errorf("fingerprints %q", prints)
	}
}
