package main

// sidesInGo are the sides that are this program, by name, with what each can do.
func sidesInGo() map[string]map[string]op {
	return map[string]map[string]op{
		"sealpost": (&sealpost{}).ops(),
		"raw":      raw{}.ops(),
		"asynq":    asynqQueue{}.ops(),

		"sealpost-mail": (&mailAction{}).ops(),
		"go-mail-dial":  (&goMail{}).ops(),
		"go-mail-kept":  (&goMail{keep: true}).ops(),

		"mail-sink": (&mailSink{}).ops(),
		"sqs-sink":  (&sqsSink{}).ops(),
		"fauxqs":    (&fauxqsSink{}).ops(),
		"far":       farLine{}.ops(),
	}
}
