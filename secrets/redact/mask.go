package redact

// Mask returns text with every occurrence of the values replaced by Placeholder,
// in all the spellings that Scrub looks for. It leaves line ends and all else
// as they are. Of a text above 64 KiB only the beginning comes back.
func Mask(text string, values ...String) string {
	forms := formsOf(values)
	text, cut := bounded(text)
	text = replace(text, forms.find(text))
	if cut { // what stands at the border may be half a value
		text = text[:max(0, len(text)-forms.longest)]
	}
	return text
}
