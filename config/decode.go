package config

import (
	"bytes"
	"encoding"
	"errors"
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// decoder fills a struct from a file's syntax tree. The library's own decoder stops at
// the first fault; this one goes on, and remembers where every key was.
type decoder struct {
	file   string
	at     positions
	faults Faults
	empty  []string        // paths of texts with nothing in them
	bad    map[string]bool // paths that have a fault: what hangs on them need not be told too
	broken bool            // there is no tree to speak of
}

// document decodes a whole file.
func (d *decoder) document(text []byte, into *Config) {
	text = bytes.TrimPrefix(text, []byte("\ufeff"))
	text = bytes.ReplaceAll(text, []byte("\r\n"), []byte("\n")) // the library counts some of these twice
	switch {
	case len(text) > maxBytes:
		d.syntax(position{1, 1}, "the file is longer than 1 MiB")
		return
	case !utf8.Valid(text):
		d.syntax(invalidUTF8(text), "the file is not UTF-8 from here on")
		return
	}
	// Duplicate keys are told by us, all of them.
	file, err := parser.Parse(joinColons(lexer.Tokenize(string(text))), 0, parser.AllowDuplicateMapKey())
	if err != nil {
		at := position{1, 1}
		message := err.Error()
		if fault, ok := errors.AsType[yaml.Error](err); ok {
			message = fault.GetMessage()
			if fault.GetToken() != nil {
				at = tokenPosition(fault.GetToken())
			}
		}
		d.syntax(at, plainly(message))
		return
	}
	documents := slices.DeleteFunc(file.Docs, func(doc *ast.DocumentNode) bool { return doc.Body == nil })
	if len(documents) > 1 {
		d.syntax(nodePosition(documents[1].Body), "a second document begins; there is one configuration in a file")
		return
	}
	if len(documents) == 1 {
		d.value("", nodePosition(documents[0].Body), documents[0].Body, reflect.ValueOf(into).Elem())
	}
}

// plainly puts the library's words for the commonest slips in ours.
func plainly(message string) string {
	switch {
	case strings.Contains(message, `'\t'`):
		return "a tab: indent with spaces"
	case message == "unexpected key name", message == "non-map value is specified":
		return message + ": is a colon missing?"
	}
	return message
}

// joinColons puts plain text together that goccy/go-yaml 1.19 takes apart at colons
// within {}: in {peers: [sip:10.0.0.5]} the second colon, with no space behind it, is
// part of the text (YAML 1.2.2 §7.3.3).
func joinColons(tokens token.Tokens) token.Tokens {
	var joined token.Tokens
	for i := 0; i < len(tokens); i++ {
		t := tokens[i]
		if n := len(joined); n > 0 && t.Type == token.MappingValueType && i+1 < len(tokens) {
			before, behind := joined[n-1], tokens[i+1]
			if plain(before) && plain(behind) && adjacent(before, t) && adjacent(t, behind) {
				before.Type = token.StringType
				before.Value += t.Value + behind.Value
				before.Origin += t.Origin + behind.Origin
				i++
				continue
			}
		}
		joined.Add(t)
	}
	return joined
}

// plain reports whether a token is text or a number without quotes.
func plain(t *token.Token) bool {
	switch t.Type {
	case token.StringType, token.IntegerType, token.BinaryIntegerType, token.OctetIntegerType, token.HexIntegerType,
		token.FloatType, token.InfinityType, token.NanType, token.BoolType, token.NullType:
		return true
	}
	return false
}

// adjacent reports whether there is nothing between two tokens.
func adjacent(a, b *token.Token) bool {
	return a.Position.Line == b.Position.Line && a.Position.Column+utf8.RuneCountInString(a.Value) == b.Position.Column
}

// syntax reports that the file cannot be read as YAML.
func (d *decoder) syntax(at position, message string) {
	d.broken = true
	d.report("", at, "%s", message)
}

func (d *decoder) report(path string, at position, format string, args ...any) {
	d.faults = append(d.faults, Fault{d.file, at.line, at.column, path, fmt.Sprintf(format, args...)})
	d.bad[path] = true
}

// covered reports whether a path, or one above it, has a fault already.
func (d *decoder) covered(path string) bool {
	for path != "" {
		if d.bad[path] {
			return true
		}
		path = path[:max(strings.LastIndexAny(path, ".["), 0)]
	}
	return d.bad[""]
}

// faulty reports whether a path, one above or one below it has a fault already: what it says
// is not known then.
func (d *decoder) faulty(path string) bool {
	if d.covered(path) {
		return true
	}
	for bad := range d.bad {
		if below(bad, path) {
			return true
		}
	}
	return false
}

// value decodes a node into a value; at is where a fault of it is reported.
func (d *decoder) value(path string, at position, node ast.Node, into reflect.Value) {
	d.at[path] = at
	switch node.(type) {
	case *ast.AliasNode:
		d.report(path, at, `aliases are not understood here; what begins with a * is written in quotes: "*9"`)
		return
	case *ast.AnchorNode, *ast.TagNode, *ast.DirectiveNode:
		d.report(path, at, "anchors, aliases, tags and directives are not understood here")
		return
	case *ast.NullNode:
		if into.Kind() == reflect.Slice { // nothing in it, which is not the same as no list
			into.Set(reflect.MakeSlice(into.Type(), 0, 0))
		}
		if k := into.Kind(); k != reflect.Map && k != reflect.Slice && (k != reflect.Struct || isText(into)) {
			d.report(path, at, "has no value")
		}
		return
	}
	if t := node.GetToken(); t.Type == token.StringType && strings.Contains(t.Value, ": ") {
		// The library takes it within {}, the standard does not (YAML 1.2.2 §7.3.3).
		d.report(path, at, "got a colon and a space in plain text: a comma is missing before it, or quotes around it")
		return
	}
	text, ok := scalar(node)
	if ok && text == "" {
		d.empty = append(d.empty, path)
	}
	if into.Kind() == reflect.Pointer {
		into.Set(reflect.New(into.Type().Elem()))
		into = into.Elem()
	} else { // what cannot be told from what was left out
		defer d.notZero(path, at, into)
	}
	if ok && isText(into) {
		d.text(path, at, node, text, into)
		return
	}
	switch into.Kind() {
	case reflect.Struct:
		if list, ok := shorthand(into); ok && !isMapping(node) {
			d.list(path, at, node, list)
			return
		}
		d.structure(path, at, node, into)
	case reflect.Map:
		d.mapping(path, at, node, into)
	case reflect.Slice:
		d.list(path, at, node, into)
	default:
		d.scalar(path, at, node, into)
	}
}

// notZero reports a number that is 0 where that would be taken for the default.
func (d *decoder) notZero(path string, at position, into reflect.Value) {
	if (into.CanInt() || into.CanUint() || into.CanFloat()) && into.IsZero() && !d.bad[path] {
		d.report(path, at, "is 0; leave it out for the default")
	}
}

// text has a value read its text itself.
func (d *decoder) text(path string, at position, node ast.Node, text string, into reflect.Value) {
	err := into.Addr().Interface().(encoding.TextUnmarshaler).UnmarshalText([]byte(text))
	if err == nil {
		return
	}
	switch into.Interface().(type) {
	case netip.Addr:
		d.unexpected(path, at, node, "an IP address such as 192.0.2.10")
	case netip.AddrPort:
		d.unexpected(path, at, node, "an IP address and a port such as 127.0.0.1:8080")
	default:
		d.report(path, at, "%v", err)
	}
}

// structure decodes a mapping whose keys are known.
func (d *decoder) structure(path string, at position, node ast.Node, into reflect.Value) {
	fields := map[string]reflect.Value{}
	fieldsOf(into, fields)
	if len(fields) == 0 { // written as text
		d.unexpected(path, at, node, "text")
		return
	}
	d.entries(path, at, node, func(key, path string, at position, value ast.Node) {
		field, ok := fields[key]
		if !ok {
			d.unknown(path, at, key, fields)
			return
		}
		d.value(path, at, value, field)
	})
}

// unknown reports a key, and the one that was meant if there is one like it.
func (d *decoder) unknown(path string, at position, key string, fields map[string]reflect.Value) {
	known := make([]string, 0, len(fields))
	for name := range fields {
		known = append(known, name)
	}
	slices.Sort(known)
	if meant := nearest(key, known); meant != "" {
		d.report(path, at, "unknown key; did you mean %s?", meant)
		d.bad[strings.TrimSuffix(path, key)+meant] = true
		return
	}
	d.report(path, at, "unknown key; known here: %s", strings.Join(known, ", "))
}

// mapping decodes a mapping whose keys are names.
func (d *decoder) mapping(path string, at position, node ast.Node, into reflect.Value) {
	into.Set(reflect.MakeMap(into.Type()))
	d.entries(path, at, node, func(key, path string, at position, value ast.Node) {
		element := reflect.New(into.Type().Elem()).Elem()
		d.value(path, at, value, element)
		into.SetMapIndex(reflect.ValueOf(key), element)
	})
}

// entries visits a mapping's keys, each once.
func (d *decoder) entries(path string, at position, node ast.Node, visit func(key, path string, at position, value ast.Node)) {
	m, ok := node.(*ast.MappingNode)
	if !ok {
		d.unexpected(path, at, node, "a mapping of keys to values")
		return
	}
	lines := map[string]int{}
	for _, entry := range m.Values {
		at := nodePosition(entry.Key)
		key, ok := scalar(entry.Key)
		if !ok {
			d.report(path, at, "a key is to be plain text")
			continue
		}
		below := key
		if path != "" {
			below = path + "." + key
		}
		if first, twice := lines[key]; twice {
			d.report(below, at, "is there twice; the first is on line %d", first)
			continue
		}
		lines[key] = at.line
		visit(key, below, at, entry.Value)
	}
}

// list decodes a list; a text alone is a list of one.
func (d *decoder) list(path string, at position, node ast.Node, into reflect.Value) {
	items := []ast.Node{node}
	if sequence, ok := node.(*ast.SequenceNode); ok {
		items = sequence.Values
	} else if _, ok := scalar(node); !ok {
		d.unexpected(path, at, node, "a list")
		return
	}
	into.Set(reflect.MakeSlice(into.Type(), len(items), len(items)))
	for i, item := range items {
		itemAt := at
		if item != node {
			itemAt = nodePosition(item)
		}
		d.value(fmt.Sprintf("%s[%d]", path, i), itemAt, item, into.Index(i))
	}
}

// scalar decodes text, numbers, truth values and time spans.
func (d *decoder) scalar(path string, at position, node ast.Node, into reflect.Value) {
	text, ok := scalar(node)
	_, truth := node.(*ast.BoolNode)
	switch kind := into.Kind(); {
	case into.Type() == reflect.TypeFor[time.Duration]():
		span, err := time.ParseDuration(text)
		if !ok || err != nil {
			d.unexpected(path, at, node, "a time span such as 500ms or 8s")
			return
		}
		into.SetInt(int64(span))
	case kind == reflect.String:
		if !ok || truth {
			d.unexpected(path, at, node, "text")
			return
		}
		into.SetString(text) // a number is taken as it is written: +31201234567 has its plus
	case kind == reflect.Bool:
		if !truth {
			d.unexpected(path, at, node, "true or false")
			return
		}
		into.SetBool(strings.EqualFold(text, "true"))
	case kind == reflect.Float64:
		number, err := strconv.ParseFloat(text, 64)
		if !ok || err != nil {
			d.unexpected(path, at, node, "a number")
			return
		}
		into.SetFloat(number)
	case into.CanInt():
		number, err := strconv.ParseInt(text, 10, into.Type().Bits())
		if !ok || err != nil {
			d.unexpected(path, at, node, "a whole number")
			return
		}
		into.SetInt(number)
	case into.CanUint():
		number, err := strconv.ParseUint(text, 10, into.Type().Bits())
		if !ok || err != nil {
			d.unexpected(path, at, node, "a whole number, not below 0")
			return
		}
		into.SetUint(number)
	default:
		panic(fmt.Sprintf("configuration key %s has a type that cannot be decoded: %v", path, into.Type())) // a section's author sees it at once
	}
}

// unexpected reports what is there where something else belongs.
func (d *decoder) unexpected(path string, at position, node ast.Node, wanted string) {
	there := "something else"
	switch node.(type) {
	case *ast.MappingNode:
		there = "a mapping"
	case *ast.SequenceNode:
		there = "a list"
	default:
		if text, ok := scalar(node); ok {
			there = fmt.Sprintf("%.40q", text)
		}
	}
	d.report(path, at, "got %s, want %s", there, wanted)
}

// isText reports whether a value is written as text and reads it itself.
func isText(v reflect.Value) bool {
	_, ok := v.Addr().Interface().(encoding.TextUnmarshaler)
	return ok
}

func isMapping(node ast.Node) bool {
	_, ok := node.(*ast.MappingNode)
	return ok
}

// shorthand returns the field that a list alone stands for in place of the mapping: the one
// with the option list.
func shorthand(v reflect.Value) (reflect.Value, bool) {
	for i := range v.NumField() {
		if _, options, _ := strings.Cut(v.Type().Field(i).Tag.Get("yaml"), ","); options == "list" {
			return v.Field(i), true
		}
	}
	return reflect.Value{}, false
}

// fieldsOf gathers a struct's fields by their keys.
func fieldsOf(v reflect.Value, into map[string]reflect.Value) {
	for i := range v.NumField() {
		key, options, _ := strings.Cut(v.Type().Field(i).Tag.Get("yaml"), ",")
		switch {
		case options == "inline":
			fieldsOf(v.Field(i), into)
		case key != "" && key != "-":
			into[key] = v.Field(i)
		}
	}
}

// scalar returns what a node says, as it is written but for quotes and escapes.
func scalar(node ast.Node) (string, bool) {
	switch n := node.(type) {
	case *ast.StringNode:
		return n.Value, true
	case *ast.LiteralNode:
		return n.Value.Value, true
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.InfinityNode, *ast.NanNode:
		return n.GetToken().Value, true
	}
	return "", false
}

// nodePosition returns where a node begins.
func nodePosition(node ast.Node) position {
	if m, ok := node.(*ast.MappingNode); ok && !m.IsFlowStyle && len(m.Values) > 0 {
		return nodePosition(m.Values[0].Key) // its own token is the first colon
	}
	return tokenPosition(node.GetToken())
}

func tokenPosition(t *token.Token) position { return position{t.Position.Line, t.Position.Column} }

// invalidUTF8 returns where a text stops being UTF-8.
func invalidUTF8(text []byte) position {
	at := position{1, 1}
	for len(text) > 0 {
		r, size := utf8.DecodeRune(text)
		if r == utf8.RuneError && size == 1 {
			break
		}
		at.column++
		if r == '\n' {
			at = position{at.line + 1, 1}
		}
		text = text[size:]
	}
	return at
}
