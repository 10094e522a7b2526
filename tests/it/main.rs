mod real_input;
