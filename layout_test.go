package bewaard_test

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/bewaard/bewaard"

// testModules are what tests may import besides.
var testModules = []string{
	"github.com/google/go-cmp", "github.com/rogpeppe/go-internal", "go.uber.org/goleak", "pgregory.net/rapid",
}

// The tree keeps to the import rules and the doors of docs/architecture.md.
func TestLayout(t *testing.T) {
	text, err := os.ReadFile("docs/architecture.md")
	if err != nil {
		t.Fatal(err)
	}
	rules, doors := block(t, string(text), "imports"), block(t, string(text), "modules")
	seen := map[string]bool{}
	err = filepath.WalkDir(".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (d.Name() == "testdata" || d.Name() == "bin" || len(d.Name()) > 1 && d.Name()[0] == '.'):
			return filepath.SkipDir
		case d.IsDir() || path.Ext(name) != ".go":
			return nil
		}
		pkg := filepath.ToSlash(filepath.Dir(name))
		seen[pkg] = true
		allowed, listed := rules[pkg]
		if !listed && pkg != "." {
			t.Errorf("%s: package %s has no line in the import rules", name, pkg)
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		for _, spec := range file.Imports {
			imported, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return err
			}
			if why := forbidden(imported, pkg, strings.HasSuffix(name, "_test.go"), allowed, doors); why != "" {
				t.Errorf("%s imports %s: %s", name, imported, why)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for pkg := range rules {
		if !seen[pkg] {
			t.Errorf("the import rules have a line for %s, which is not there", pkg)
		}
	}
}

// forbidden says why a file of pkg may not import that, or "".
func forbidden(imported, pkg string, test bool, allowed []string, doors map[string][]string) string {
	if own, ok := strings.CutPrefix(imported, module+"/"); ok {
		if test || slices.Contains(allowed, own) || slices.Contains(allowed, "*") {
			return ""
		}
		return "not in the import rules of " + pkg
	}
	first, _, _ := strings.Cut(imported, "/")
	if !strings.Contains(first, ".") { // the standard library, and C
		return ""
	}
	for mod, packages := range doors {
		if imported == mod || strings.HasPrefix(imported, mod+"/") {
			if slices.Contains(packages, pkg) {
				return ""
			}
			return "the door to " + mod + " is " + strings.Join(packages, " ")
		}
	}
	for _, mod := range testModules {
		if test && (imported == mod || strings.HasPrefix(imported, mod+"/")) {
			return ""
		}
	}
	return "a module without a door"
}

// block reads the lines "name: word word" of a fenced block.
func block(t *testing.T, text, kind string) map[string][]string {
	t.Helper()
	_, rest, ok := strings.Cut(text, "```"+kind+"\n")
	if !ok {
		t.Fatalf("docs/architecture.md has no block %s", kind)
	}
	body, _, _ := strings.Cut(rest, "```")
	lines := map[string][]string{}
	for line := range strings.Lines(body) {
		name, words, ok := strings.Cut(strings.TrimSpace(line), ":")
		if !ok {
			t.Fatalf("block %s: %q has no colon", kind, line)
		}
		lines[name] = strings.Fields(words)
	}
	return lines
}
