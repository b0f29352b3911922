"""A reward as verl reads it: `custom_reward_function.path` points to such a file."""

import re


def compute_score(data_source, solution_str, ground_truth, extra_info=None):
    """Return 1 for the right answer, less 0.5 for one that is longer than 200 words."""
    answers = re.findall(r"<answer>([^<]*)</answer>", solution_str)
    right = len(answers) == 1 and answers[0].strip().lower() == ground_truth.lower()
    num_words = len(solution_str.split())
    return {"score": float(right) - 0.5 * (num_words > 200), "acc": right, "words": num_words}
