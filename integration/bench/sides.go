package main

// sidesInGo are the sides that are this program, by name, with what each can do.
func sidesInGo() map[string]map[string]op {
	return map[string]map[string]op{
		"sealpost": (&sealpost{}).ops(),
		"raw":      raw{}.ops(),
		"asynq":    asynqQueue{}.ops(),
	}
}
