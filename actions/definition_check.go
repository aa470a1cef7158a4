package actions

import (
	"encoding/json"
	"slices"
	"strings"
	"unicode"
)

// checkField adds a fault unless the value fits the rule, and returns what it
// names.
func (o object) checkField(r Field, raw json.RawMessage) []Reference {
	switch r.Form {
	case FlagForm:
		o.flag(r.Name)
	case ScalarForm:
		if k := typeOf(raw); !slices.Contains([]string{"string", "number", "boolean"}, k) || len(raw) > maxLine {
			o.faults.add(o.at(r.Name), "Expected string, number or boolean of at most %d bytes, received %s", maxLine, k)
		}
	case HeadersForm:
		o.checkHeaders(r, raw)
	case SecretsForm:
		return o.checkSecrets(r, raw)
	case PairsForm:
		for i, item := range readList(raw, o.at(r.Name), maxPairs, o.faults) {
			if pair := readObject(item, at(o.at(r.Name), i), o.faults); pair.raw != nil {
				pair.checkLine("name", pair.need("name"), 1)
				pair.checkLong("value", pair.need("value"))
				pair.checkVariables("value", pair.need("value"), r.Vars)
			}
		}
	case ScriptsForm:
		return o.scripts(r.Name, raw)
	case ObjectForm:
		return o.checkObject(r, raw)
	case ArrayForm:
		readList(raw, o.at(r.Name), maxPairs, o.faults)
	case LinesForm:
		o.checkLines(r, raw)
	case TextForm:
		if s := o.text(r.Name); s != nil {
			o.checkLong(r.Name, *s)
			o.checkNeeded(r, *s)
			o.checkVariables(r.Name, *s, r.Vars)
		}
	default:
		return o.checkShort(r)
	}
	return nil
}

// checkLines checks a text of one line, or an array of them.
func (o object) checkLines(r Field, raw json.RawMessage) {
	if typeOf(raw) != "array" {
		o.checkShort(r)
		return
	}
	for i, item := range readList(raw, o.at(r.Name), maxPairs, o.faults) {
		one := object{raw: map[string]json.RawMessage{r.Name: item}, path: at(o.path, i), faults: o.faults}
		one.checkShort(r)
	}
}

// checkObject leaves the fields of an object to the sender, but for the secret
// that it names.
func (o object) checkObject(r Field, raw json.RawMessage) []Reference {
	inner := readObject(raw, o.at(r.Name), o.faults)
	if inner.raw == nil || r.Secret == "" {
		return nil
	}
	return inner.checkShort(Field{Name: "secret", Form: SecretForm, Secret: r.Secret})
}

// checkSecrets reads an object whose values are secrets.
func (o object) checkSecrets(r Field, raw json.RawMessage) []Reference {
	h := readObject(raw, o.at(r.Name), o.faults)
	if len(h.raw) > maxHeaders {
		o.faults.add(o.at(r.Name), "Object must contain at most %d secret(s)", maxHeaders)
		return nil
	}
	var refs []Reference
	for _, key := range sortedKeys(h.raw) {
		if !isHeaderName(key) {
			o.faults.add(o.at(r.Name), "The name of a header must be letters, digits or -")
			continue
		}
		refs = append(refs, h.checkShort(Field{Name: key, Form: SecretForm, Secret: r.Secret})...)
	}
	return refs
}

// checkVariables adds a fault for what looks like a message variable and would
// stay as it is: in a field that takes none, or with a name that there is not.
func (o object) checkVariables(name, s string, filled bool) {
	for _, v := range variablesIn(s) {
		switch known := isVariable(v); {
		case !known:
			o.faults.add(o.at(name), "No message variable is called $%s$; there are $%s$", v, strings.Join(variableNames, "$ $"))
			return
		case !filled:
			o.faults.add(o.at(name), "Message variables are not filled in this field, so $%s$ would be unused", v)
			return
		}
	}
}

// checkShort checks a text of one line, which may name a secret.
func (o object) checkShort(r Field) []Reference {
	s := o.text(r.Name)
	if s == nil {
		return nil
	}
	if r.Form == SecretForm {
		if !IsSecretRef(*s) {
			o.faults.add(o.at(r.Name), "Expected the id of a secret of type %s", r.Secret)
			return nil
		}
		return []Reference{{Field: o.at(r.Name), To: ToSecret, ID: *s, Secret: r.Secret}}
	}
	if r.Form == ActionForm {
		if !isID(*s) {
			o.faults.add(o.at(r.Name), "Expected the id of an action")
			return nil
		}
		return []Reference{{Field: o.at(r.Name), To: ToAction, ID: *s}}
	}
	o.checkVariables(r.Name, *s, r.Vars)
	o.checkLine(r.Name, *s, 0)
	o.checkNeeded(r, *s)
	switch {
	case r.OneOf != nil && !slices.Contains(r.OneOf, *s):
		o.faults.add(o.at(r.Name), "Invalid enum value. Expected '%s'", strings.Join(r.OneOf, "' | '"))
	case r.Match != nil && !r.Match.MatchString(*s):
		o.faults.add(o.at(r.Name), "Invalid %s", r.Name)
	}
	return nil
}

func (o object) checkNeeded(r Field, s string) {
	if r.Need && s == "" {
		o.faults.add(o.at(r.Name), "String must contain at least 1 character(s)")
	}
}

// checkLine adds a fault unless s can stand in a header.
func (o object) checkLine(name, s string, least int) {
	switch err := CheckLine(s); {
	case err != nil:
		o.faults.add(o.at(name), "String %s", err)
	case len(s) < least:
		o.faults.add(o.at(name), "String must contain at least %d character(s)", least)
	case len(s) > maxLine:
		o.faults.add(o.at(name), "String must contain at most %d bytes", maxLine)
	}
}

func (o object) checkLong(name, s string) {
	if err := CheckText(s); err != nil {
		o.faults.add(o.at(name), "String %s", err)
	} else if len(s) > maxLong {
		o.faults.add(o.at(name), "String must contain at most %d bytes", maxLong)
	}
}

// checkHeaders checks an object of header names and values. Names are tokens
// (RFC 9110, section 5.6.2), so that none can begin another header.
func (o object) checkHeaders(r Field, raw json.RawMessage) {
	name := r.Name
	h := readObject(raw, o.at(name), o.faults)
	if len(h.raw) > maxHeaders {
		o.faults.add(o.at(name), "Object must contain at most %d header(s)", maxHeaders)
		return
	}
	for _, key := range sortedKeys(h.raw) {
		// The name may be a value that was put in the wrong place.
		if !isHeaderName(key) {
			o.faults.add(o.at(name), "The name of a header must be letters, digits or -")
			continue
		}
		if s := h.text(key); s != nil {
			h.checkLine(key, *s, 0)
			h.checkVariables(key, *s, r.Vars)
		}
	}
}

// isHeaderName reports a token of at most 128 bytes.
func isHeaderName(s string) bool {
	return s != "" && len(s) <= 128 && !strings.ContainsFunc(s, notToken)
}

func notToken(r rune) bool {
	return r > unicode.MaxASCII || !unicode.IsLetter(r) && !unicode.IsDigit(r) && !strings.ContainsRune("!#$%&'*+-.^_`|~", r)
}

// scripts reads the ids of analyses.
func (o object) scripts(name string, raw json.RawMessage) []Reference {
	var refs []Reference
	list := readList(raw, o.at(name), maxScripts, o.faults)
	if list != nil && len(list) == 0 {
		o.faults.add(o.at(name), "Array must contain at least 1 element(s)")
	}
	for i, item := range list {
		var id string
		if json.Unmarshal(item, &id) != nil || !isID(id) {
			o.faults.add(at(o.at(name), i), "Expected the id of an analysis")
			continue
		}
		refs = append(refs, Reference{Field: at(o.at(name), i), To: ToAnalysis, ID: id})
	}
	return refs
}

// isID reports whether s has the form of an id: 24 lower-case hex digits.
func isID(s string) bool { return len(s) == 24 && strings.Trim(s, "0123456789abcdef") == "" }

// checkCondition adds faults for what the fields of a condition say together.
func (o object) checkCondition() {
	byTag := o.has("tag_key") || o.has("tag_value")
	if _, sent := o.raw["value"]; sent && !o.has("value") {
		o.faults.add(o.at("value"), "An empty value must be left out")
	}
	if byTag == o.has("device") {
		o.faults.add(o.at("device"), "Required, or tag_key and tag_value; not both")
	}
	if byTag && !(o.has("tag_key") && o.has("tag_value")) {
		o.faults.add(o.at("tag_key"), "Required with tag_value, and the other way round")
	}
	if _, sent := o.raw["unlock"]; sent && byTag {
		o.faults.add(o.at("unlock"), "Not allowed on triggers by tag")
	}
	var is string
	_ = json.Unmarshal(o.raw["is"], &is) // what is no text has a fault already
	if is == "><" && !o.has("second_value") {
		o.faults.add(o.at("second_value"), "Required with ><")
	}
}
