"""Stage 1: functions of open-source code from which tasks are made."""
