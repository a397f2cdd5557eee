"""What the person on duty does at the keyboard: silence, listen for answers, drill, and see how things stand."""
